package api

import (
	"net/http"
	"strings"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/server"
)

// object is a JSON object of the description.
type object = map[string]any

// describeRoutes returns the routes that say what the others are.
func (a *API) describeRoutes() []server.Route {
	return []server.Route{
		{
			Method: http.MethodGet, Pattern: "/{$}", Role: auth.Viewer, MaxBody: -1, Summary: "Says what is here",
			Handler: http.HandlerFunc(a.about),
		},
		{
			Method: http.MethodGet, Pattern: "/openapi.json", Role: auth.Viewer, MaxBody: -1, Summary: "Describes all routes, as OpenAPI 3.1",
			Handler: http.HandlerFunc(a.openAPI),
		},
	}
}

// about says what is here.
func (a *API) about(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, struct {
		Name    string   `json:"name"`
		Version string   `json:"version"`
		Models  []string `json:"models"`
		Predict string   `json:"predict"`
		OIP     string   `json:"open_inference_protocol"`
		Routes  string   `json:"routes"`
	}{platform, a.options.Version, a.models.Names(), "POST /predict", "/v2", "/openapi.json"})
}

// openAPI describes the routes. It is made of the routes themselves, and of the models as they are now, so that it cannot say anything
// else.
func (a *API) openAPI(w http.ResponseWriter, r *http.Request) {
	schemas := sharedSchemas()
	records, predicted := []any{}, []any{}
	for _, name := range a.models.Names() {
		v, err := a.models.Open(r.Context(), name, "")
		if err != nil || v.Windows() {
			continue // it takes no records, at least now
		}
		of := v.Bundle()
		schemas["record."+name] = recordSchema(of.Schema, of.Manifest.Label, "")
		schemas["predicted."+name] = recordSchema(of.Schema, of.Manifest.Label, v.Field())
		records, predicted = append(records, schemaRef("record."+name)), append(predicted, schemaRef("predicted."+name))
	}
	schemas["record"], schemas["predicted"] = anyOf(records), anyOf(predicted)
	paths := object{}
	for i := range a.routes {
		route := &a.routes[i]
		path, parameters := pathOf(route.Pattern)
		item, ok := paths[path].(object)
		if !ok {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(route.Method)] = a.operation(route, path, parameters)
	}
	answerJSON(w, object{
		"openapi": "3.1.0",
		"info": object{
			"title": "millrace serve", "version": a.options.Version,
			"description": "Predictions of models that a registry has promoted: records by POST /predict, tensors by the Open Inference Protocol.",
		},
		"paths": paths,
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer", "description": "A token of the server's tokens file, or of its OpenID Connect issuer."},
			},
		},
	})
}

// anyOf returns the schema of a value that one of the schemas allows; without any, of an object.
func anyOf(schemas []any) object {
	if len(schemas) == 0 {
		return object{"type": "object"}
	}
	return object{"anyOf": schemas}
}

func schemaRef(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// pathOf returns the path of a pattern of package net/http as OpenAPI has it, and its variables.
func pathOf(pattern string) (path string, variables []string) {
	for {
		before, rest, ok := strings.Cut(pattern, "{")
		path += before
		if !ok {
			return path, variables
		}
		var name string
		name, pattern, _ = strings.Cut(rest, "}")
		if name = strings.TrimSuffix(name, "..."); name == "$" { // the end of the path
			continue
		}
		path += "{" + name + "}"
		variables = append(variables, name)
	}
}

// operation describes a route.
func (a *API) operation(route *server.Route, path string, variables []string) object {
	parameters := make([]any, 0, len(variables))
	for _, name := range variables {
		schema := object{"type": "string"}
		if name == "model" && !strings.HasPrefix(path, "/api/") {
			schema["enum"] = a.models.Names()
		}
		parameters = append(parameters, object{"name": name, "in": "path", "required": true, "schema": schema, "description": variableText(name)})
	}
	op := object{
		"operationId": operationID(route), "summary": route.Summary, "tags": []string{tagOf(route)}, "x-millrace-role": roleName(route.Role),
	}
	switch {
	case strings.HasPrefix(route.Pattern, "/predict"):
		describePredict(op, &parameters)
	case strings.HasSuffix(route.Pattern, "/infer"):
		describeInfer(op)
	case tagOf(route) == tagGRPC:
		op["requestBody"] = object{"required": true, "content": object{"application/grpc": object{}}}
		op["responses"] = responses("A message of the service inference.GRPCInferenceService", "application/grpc", object{})
	case route.Method == http.MethodGet && (strings.HasSuffix(route.Pattern, "z") || route.Pattern == "/metrics"):
		op["responses"] = responses(route.Summary, "text/plain", object{"schema": object{"type": "string"}})
	default:
		op["responses"] = responses(route.Summary, jsonType, object{"schema": object{"type": "object"}})
		if route.Method != http.MethodGet && route.MaxBody >= 0 {
			op["requestBody"] = object{"content": object{jsonType: object{"schema": object{"type": "object"}}}}
		}
	}
	if route.Role != auth.Anyone {
		op["security"] = []any{object{"bearer": []string{}}, object{}} // which of them, the server's set-up says
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	return op
}

func variableText(name string) string {
	switch name {
	case "model":
		return "The name of the model"
	case "version":
		return "The number of an approved version; latest is the one that is promoted"
	}
	return "See the protocol"
}

func roleName(r auth.Role) string {
	if r == auth.Anyone {
		return "anyone"
	}
	return string(r)
}

// The tags of the groups of routes.
const (
	tagPredict = "Predict"
	tagOIP     = "Open Inference Protocol"
	tagGRPC    = "Open Inference Protocol over gRPC"
	tagMLflow  = "MLflow"
	tagServer  = "Server"
)

func tagOf(route *server.Route) string {
	for _, group := range []struct{ prefix, tag string }{
		{"/predict", tagPredict}, {"/v2", tagOIP}, {"/inference.", tagGRPC}, {"/api/", tagMLflow}, {"/ajax-api/", tagMLflow},
	} {
		if strings.HasPrefix(route.Pattern, group.prefix) {
			return group.tag
		}
	}
	return tagServer
}

// operationID names a route by its method and path.
func operationID(route *server.Route) string {
	words := strings.FieldsFunc(route.Pattern, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	id := strings.ToLower(route.Method) + "_" + strings.Join(words, "_")
	if strings.HasSuffix(route.Pattern, "{$}") {
		id += "_root"
	}
	return id
}

const jsonType = "application/json"

// responses returns what a route answers when all is well, and else.
func responses(text, kind string, content object) object {
	return object{
		"200": object{"description": text, "content": object{kind: content}},
		"default": object{
			"description": "It could not be done. The status says how: 400 the request is wrong, 401 it is not known who asks, 403 they may not, 404 there is no such model or version, " +
				"413 it is too large, 429 the client asks too often, 501 the model cannot do that, 503 not now: see Retry-After",
			"content": object{jsonType: object{"schema": schemaRef("error")}},
		},
	}
}

// describePredict describes POST /predict.
func describePredict(op object, parameters *[]any) {
	*parameters = append(*parameters, object{
		"name": "explain", "in": "query", "schema": object{"type": "boolean", "default": false},
		"description": "Also what each input of the model adds to the prediction",
	})
	op["requestBody"] = object{"required": true, "content": object{
		jsonType:               object{"schema": object{"anyOf": []any{schemaRef("record"), object{"type": "array", "items": schemaRef("record"), "maxItems": mostRecords}}}},
		"application/x-ndjson": object{"schema": object{"type": "string", "description": "One record a line"}},
	}}
	all := responses("The record with its prediction, byte for byte as a stream writes it; for a list, what became of each record",
		jsonType, object{"schema": object{"anyOf": []any{schemaRef("predicted"), schemaRef("explained"), schemaRef("predictions")}}})
	header := func(text string) object { return object{"description": text, "schema": object{"type": "string"}} }
	all["200"].(object)["headers"] = object{ //nolint:errcheck,forcetypeassert // it was made so
		headerModel: header("The model, name@version"), headerDigest: header("The digest of the model"),
		headerChecks: header("The rules that a single record breaks and is predicted all the same, with commas between"),
	}
	all["422"] = object{
		"description": "The single record cannot be predicted",
		"content":     object{jsonType: object{"schema": schemaRef("refused")}},
	}
	op["responses"] = all
}

// describeInfer describes the inference of the Open Inference Protocol.
func describeInfer(op object) {
	tensors := func(schema string) object {
		return object{
			jsonType:                   object{"schema": schemaRef(schema)},
			"application/octet-stream": object{"schema": object{"type": "string", "format": "binary", "description": "With the extension of binary tensors: the header Inference-Header-Content-Length says how long the JSON is"}},
		}
	}
	op["requestBody"] = object{"required": true, "content": tensors("inferRequest")}
	all := responses("The predictions", jsonType, object{})
	all["200"].(object)["content"] = tensors("inferResponse") //nolint:errcheck,forcetypeassert // it was made so
	op["responses"] = all
}
