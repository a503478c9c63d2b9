package api

import (
	"slices"

	"millrace.dev/record"
)

// recordSchema describes a record: the fields that the model looks at, and what else it may have. The label is what is to be known, and
// not looked at. With a field for the prediction it describes the record as it is answered.
func recordSchema(s *record.Schema, label, prediction string) object {
	properties := object{}
	var required []string
	for i := range s.Len() {
		f := s.Field(i)
		if f.Name == label {
			continue
		}
		properties[f.Name] = fieldSchema(&f)
		if f.Required {
			required = append(required, f.Name)
		}
	}
	if prediction != "" {
		properties[prediction] = object{"type": "number", "description": "The prediction"}
		required = append(required, prediction)
	}
	schema := object{"type": "object", "properties": properties, "additionalProperties": true}
	if len(required) > 0 {
		slices.Sort(required)
		schema["required"] = required
	}
	return schema
}

// fieldSchema describes what a field can be.
func fieldSchema(f *record.Field) object {
	types := []string{"number"}
	text := ""
	switch f.Type {
	case record.Numeric:
		if f.Quoted {
			types, text = append(types, "string"), "A number, or a text that is one"
		}
	case record.Enum:
		types, text = []string{"string", "number", "boolean"}, "A level"
	case record.Time:
		types, text = []string{"string"}, "A time"
		if slices.ContainsFunc(f.Layouts, record.IsCount) {
			types = append(types, "number")
		}
	case record.String:
		types = []string{"string"}
	}
	if !f.Required {
		types = append(types, "null")
	}
	schema := object{"type": types}
	if text != "" {
		schema["description"] = text
	}
	return schema
}

// sharedSchemas are those of what all models have in common.
func sharedSchemas() object {
	text, number, list := object{"type": "string"}, object{"type": "number"}, func(of object) object { return object{"type": "array", "items": of} }
	shape := func(required []string, properties object) object {
		o := object{"type": "object", "properties": properties}
		if len(required) > 0 {
			o["required"] = required
		}
		return o
	}
	explanation := shape([]string{"prediction", "baseline", "inputs"}, object{
		"prediction": number,
		"baseline":   object{"type": "number", "description": "The mean prediction of the records that the model is explained beside. With what all inputs add it is the prediction"},
		"inputs": list(shape([]string{"name", "value", "adds"}, object{
			"name": text, "value": object{"type": []string{"number", "string", "null"}}, "adds": object{"type": "number", "description": "In the unit of the prediction"},
		})),
	})
	tensor := shape([]string{"name", "datatype", "shape"}, object{
		"name": text, "shape": list(object{"type": "integer", "minimum": 0}), "parameters": object{"type": "object"}, "data": object{"type": "array"},
		"datatype": object{"type": "string", "enum": []string{
			"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
		}},
	})
	return object{
		"error":       shape(nil, object{"error": text, "error_code": object{"type": "string", "description": "Of the routes of MLflow"}, "message": text}),
		"problem":     shape([]string{"stage", "class", "reason"}, object{"stage": text, "class": text, "field": text, "reason": text}),
		"refused":     shape([]string{"error", "problem"}, object{"error": text, "problem": schemaRef("problem")}),
		"explanation": explanation,
		"explained":   shape([]string{"record"}, object{"record": schemaRef("predicted"), "checks": list(text), "explanation": schemaRef("explanation")}),
		"predictions": shape([]string{"predictions", "model", "digest"}, object{
			"predictions": list(object{"anyOf": []any{schemaRef("explained"), shape([]string{"problem"}, object{"problem": schemaRef("problem")})}}),
			"model":       text, "digest": text,
		}),
		"tensor": tensor,
		"inferRequest": shape([]string{"inputs"}, object{
			"id": text, "parameters": object{"type": "object"}, "inputs": list(schemaRef("tensor")),
			"outputs": list(shape([]string{"name"}, object{"name": text, "parameters": object{"type": "object"}})),
		}),
		"inferResponse": shape([]string{"model_name", "outputs"}, object{
			"model_name": text, "model_version": text, "id": text, "parameters": object{"type": "object"}, "outputs": list(schemaRef("tensor")),
		}),
	}
}
