package config

import (
	"encoding/json"
	"math"
)

// object is an object of a JSON Schema.
type object map[string]any

// JSONSchema returns the JSON Schema (draft 2020-12) of the pipeline file, for editors. It accepts every file that
// [Parse] accepts, apart from numbers and truth values in quotes; what concerns more than one key it does not know.
func JSONSchema() []byte {
	root := mappingSchema(pipelineFields())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "millrace pipeline file, version 1"
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("config: the JSON Schema holds a value that JSON cannot: " + err.Error())
	}
	return append(b, '\n')
}

func mappingSchema(fields []field) object {
	properties, required := object{}, []string{}
	for i := range fields {
		f := &fields[i]
		s := f.jsonSchema()
		s["description"] = f.doc + "."
		properties[f.key] = s
		if f.required {
			required = append(required, f.key)
		}
	}
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (f *field) jsonSchema() object {
	o := f.typeSchema()
	if f.def == "" {
		return o
	}
	switch f.kind {
	case kindInteger, kindNumber:
		o["default"] = json.Number(f.def)
	case kindBool:
		o["default"] = f.def == "true"
	default:
		o["default"] = f.def
	}
	return o
}

// typeSchema returns what the values of f are. Where f is no text, a variable may stand for the value.
func (f *field) typeSchema() object {
	reference := object{"type": "string", "pattern": `\$\{`}
	switch f.kind {
	case kindAny:
		return object{}
	case kindMapping:
		o := mappingSchema(f.fields)
		if !f.required {
			o["type"] = []string{"object", "null"}
		}
		return o
	case kindNamed:
		return object{"type": []string{"object", "null"}, "additionalProperties": f.item.jsonSchema()}
	case kindList:
		list := object{"type": "array", "items": f.item.itemSchema()}
		if f.least > 0 {
			list["minItems"] = int(f.least)
		}
		if f.commas {
			return object{"anyOf": []object{list, {"type": "string"}}}
		}
		return list
	case kindInteger, kindNumber:
		number := object{"type": "number"}
		if f.kind == kindInteger {
			number["type"] = "integer"
		}
		if f.bounded {
			number["minimum"] = f.least
			if f.most < math.MaxInt64 {
				number["maximum"] = f.most
			}
		}
		if len(f.allowed) > 0 {
			only := make([]json.Number, len(f.allowed))
			for i, a := range f.allowed {
				only[i] = json.Number(a)
			}
			number["enum"] = only
		}
		return object{"anyOf": []object{number, reference}}
	case kindShare:
		return object{"anyOf": []object{{"type": "number", "minimum": f.least, "maximum": f.most}, {"type": "string", "pattern": `%$|\$\{`}}}
	case kindBool:
		return object{"anyOf": []object{{"type": "boolean"}, reference}}
	case kindDuration:
		return object{"type": "string"}
	default:
		return f.textSchema(reference)
	}
}

func (f *field) textSchema(reference object) object {
	switch {
	case f.secret:
		return object{"type": "string", "pattern": `^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`}
	case len(f.allowed) > 0:
		return object{"anyOf": []object{{"enum": f.allowed}, reference}}
	default:
		return object{"type": []string{"string", "number", "boolean"}}
	}
}

// itemSchema returns what the items of a list are: where they are mappings, a scalar stands for the first field.
func (f *field) itemSchema() object {
	if f.kind != kindMapping {
		return f.jsonSchema()
	}
	if f.whole {
		return mappingSchema(f.fields)
	}
	return object{"anyOf": []object{f.fields[0].jsonSchema(), mappingSchema(f.fields)}}
}
