package api_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/server"
)

// description is what the tests look at of an OpenAPI document.
type description struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string `json:"summary"`
		Role        string `json:"x-millrace-role"`
		Security    []any  `json:"security"`
		Parameters  []struct {
			Name     string         `json:"name"`
			In       string         `json:"in"`
			Required bool           `json:"required"`
			Schema   map[string]any `json:"schema"`
		} `json:"parameters"`
		RequestBody map[string]any            `json:"requestBody"`
		Responses   map[string]map[string]any `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]map[string]any `json:"schemas"`
	} `json:"components"`
}

func describe(t *testing.T, s *site) (description, string) {
	t.Helper()
	a := s.send("GET", "/openapi.json", "")
	var d description
	if err := json.Unmarshal([]byte(a.body), &d); err != nil || a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d, %v", a.status, err)
	}
	return d, a.body
}

// TestOpenAPI has each route described, and nothing else.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	d, text := describe(t, s)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("version %q", d.OpenAPI)
	}
	ids := map[string]bool{}
	described := 0
	for _, r := range s.api.Routes() {
		path := strings.TrimSuffix(strings.ReplaceAll(r.Pattern, "...", ""), "{$}")
		op, ok := d.Paths[path][strings.ToLower(r.Method)]
		if !ok {
			t.Errorf("%s %s is not described", r.Method, path)
			continue
		}
		described++
		if op.Summary != r.Summary || op.OperationID == "" || ids[op.OperationID] || op.Responses["default"] == nil || op.Responses["200"] == nil {
			t.Errorf("%s %s: %+v", r.Method, path, op)
		}
		ids[op.OperationID] = true
		if want := string(r.Role); op.Role != want && (want != "" || op.Role != "anyone") || (op.Security == nil) != (want == "") {
			t.Errorf("%s %s: role %q, security %v, want role %q", r.Method, path, op.Role, op.Security, want)
		}
		var variables, want []string
		for _, p := range op.Parameters {
			if p.In == "path" {
				variables = append(variables, p.Name)
				if !p.Required {
					t.Errorf("%s %s: the variable %s is not required", r.Method, path, p.Name)
				}
			}
		}
		for part := range strings.SplitSeq(path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				want = append(want, strings.TrimSuffix(name, "}"))
			}
		}
		if diff := cmp.Diff(want, variables); diff != "" {
			t.Errorf("%s %s: variables (-want +got):\n%s", r.Method, path, diff)
		}
	}
	for path, item := range d.Paths {
		described -= len(item)
		if strings.ContainsAny(path, "$.") && path != "/openapi.json" && !strings.HasPrefix(path, "/inference.") {
			t.Errorf("path %s", path)
		}
	}
	if described != 0 {
		t.Errorf("there are %d more operations than routes", -described)
	}
	for _, part := range strings.Split(text, `"$ref":"#/components/schemas/`)[1:] {
		if name, _, _ := strings.Cut(part, `"`); d.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
}

// TestOpenAPISchemas describes the records of each model.
func TestOpenAPISchemas(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	d, _ := describe(t, s)
	in, out := d.Components.Schemas["record.house-prices"], d.Components.Schemas["predicted.house-prices"]
	fields := in["properties"].(map[string]any) //nolint:errcheck,forcetypeassert // it fails the test
	if d.Components.Schemas["record.busy-streets"] != nil {
		t.Error("a model that uses windows takes records")
	}
	if fields["price"] != nil || fields["bedrooms"] == nil || fields["predicted_price"] != nil {
		t.Errorf("fields: %v", keys(fields))
	}
	if got := out["properties"].(map[string]any)["predicted_price"]; got == nil { //nolint:errcheck,forcetypeassert // it fails the test
		t.Error("there is no prediction")
	}
	for name, want := range map[string][]any{
		"bathrooms": {"number", "null"}, "city": {"string", "number", "boolean", "null"}, "date": {"string", "null"}, "street": {"string", "null"},
	} {
		if got := fields[name].(map[string]any)["type"]; !cmp.Equal(got, any(want)) { //nolint:errcheck,forcetypeassert // it fails the test
			t.Errorf("field %s: %v, want %v", name, got, want)
		}
	}
	var names []any
	for _, p := range d.Paths["/predict/{model}"]["post"].Parameters {
		if p.Name == "model" {
			names, _ = p.Schema["enum"].([]any)
		}
	}
	if !slices.Contains(names, any("house-prices")) || !slices.Contains(names, any("busy-streets")) {
		t.Errorf("models: %v", names)
	}
	if err := s.models.Unload("house-prices"); err != nil {
		t.Fatal(err)
	}
	if d, _ := describe(t, s); d.Components.Schemas["record.house-prices"] != nil || d.Components.Schemas["record"] == nil {
		t.Errorf("schemas when a model is unloaded: %v", keys(d.Components.Schemas))
	}
}

// TestAbout says what is here.
func TestAbout(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	want := `{"name":"millrace","version":"test","models":["house-prices","busy-streets"],"predict":"POST /predict","open_inference_protocol":"/v2","routes":"/openapi.json"}`
	if a := s.send("GET", "/", ""); a.status != 200 || strings.TrimSpace(a.body) != want {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.send("GET", "/nothing", ""); a.status != 404 {
		t.Errorf("another path: %d %s", a.status, a.body)
	}
}
