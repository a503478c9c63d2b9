package config

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"millrace.dev/gbm"
)

// walk calls f for every field of the specification, with its path.
func walk(path string, fields []field, f func(path string, f *field)) {
	for i := range fields {
		at := join(path, fields[i].key)
		f(at, &fields[i])
		walk(at, fields[i].fields, f)
		if item := fields[i].item; item != nil {
			walk(at, []field{*item}, f)
		}
	}
}

// TestSpec holds every field of the specification to what the parser, the schema and the reference rely on.
func TestSpec(t *testing.T) {
	t.Parallel()
	walk("", pipelineFields(), func(path string, f *field) {
		switch {
		case f.doc == "" || strings.HasSuffix(f.doc, ".") || strings.ToUpper(f.doc[:1]) != f.doc[:1]:
			t.Errorf("%s: doc %q: want a sentence without its full stop", path, f.doc)
		case f.kind == kindMapping && f.set != nil:
			t.Errorf("%s: the fields of a mapping set values, not the mapping", path)
		case f.kind != kindMapping && f.key != "" && !f.required && f.def == "" && f.defDoc == "":
			t.Errorf("%s: neither required nor with a default", path)
		case f.required && f.kind != kindMapping && f.example == "":
			t.Errorf("%s: a required field needs an example", path)
		case f.required && (f.def != "" || f.defDoc != ""):
			t.Errorf("%s: required and with a default", path)
		case (f.kind == kindList || f.kind == kindNamed) != (f.item != nil):
			t.Errorf("%s: item", path)
		case f.kind == kindDuration && f.most == 0:
			t.Errorf("%s: a duration needs bounds", path)
		}
		if f.def != "" {
			d := decoder{p: &Pipeline{}, ps: &problemList{}, at: map[string]*node{}, keys: map[string]*node{}, failed: map[string]bool{}}
			if _, ok := d.field(nil, path, f); !ok || len(d.ps.list) > 0 {
				t.Errorf("%s: the default is no value: %v", path, d.ps.problems())
			}
		}
	})
}

// TestGBMSpec holds train.gbm to the parameters of package gbm: the same names, in the same order.
func TestGBMSpec(t *testing.T) {
	t.Parallel()
	var p Pipeline
	d := decoder{p: &p, ps: &problemList{}, at: map[string]*node{}, keys: map[string]*node{}, failed: map[string]bool{}}
	d.fields(nil, "train.gbm", gbmFields())
	if diff := cmp.Diff(gbmDefaults(), p.Train.GBM); diff != "" {
		t.Errorf("the defaults differ: %s", diff)
	}
	if err := p.Train.GBM.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	typ := reflect.TypeFor[gbm.Params]()
	for i, f := range gbmFields() {
		if tag := typ.Field(i).Tag.Get("json"); tag != f.key {
			t.Errorf("field %d is %s, and in gbm %s", i, f.key, tag)
		}
		if f.kind == kindText {
			for _, choice := range f.allowed {
				params := gbm.DefaultParams()
				reflect.ValueOf(&params).Elem().Field(i).SetString(gbmText(choice))
				if err := params.Validate(); err != nil {
					t.Errorf("%s: %s: %v", f.key, choice, err)
				}
			}
		} else if f.want == "" && f.key != "seed" {
			t.Errorf("%s has no range", f.key)
		}
	}
}

func TestSchemaFile(t *testing.T) {
	t.Parallel()
	golden(t, filepath.Join("..", "..", "docs", "reference", "pipeline-file.schema.json"), string(JSONSchema()))
}

func TestReference(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "reference", "pipeline-file.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, path, Reference())
	_, example, _ := strings.Cut(Reference(), "```yaml\n")
	example, _, _ = strings.Cut(example, "```\n")
	if _, err := Parse("pipeline.yaml", []byte(example), Options{Env: lookup(nil)}); err != nil {
		t.Errorf("the example: %v", err)
	}
}

// TestJSONSchema checks that the schema knows every key, and that it accepts the files that Parse accepts and refuses
// those that have wrong keys or values of the wrong kind.
func TestJSONSchema(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal(JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{house, minimal} {
		if faults := validate(schema, decodeYAML(t, text), ""); len(faults) > 0 {
			t.Errorf("a good file: %v", faults)
		}
	}
	for name, change := range map[string][2]string{
		"unknown key":   {"sink:", "sinks:"},
		"missing key":   {"  label: price\n", ""},
		"wrong kind":    {"topic: housing", "topic: [housing]"},
		"not a number":  {"ntrees: 120", "ntrees: many"},
		"not one of":    {"json}", "avro}"},
		"version":       {"version: 1", "version: 2"},
		"item key":      {"quoted: true", "quote: true"},
		"no choice":     {"label_transform: log", "label_transform: sqrt"},
		"secret":        {"${PW}", "hunter2"},
		"no whole":      {"ntrees: 120", "ntrees: 1.5"},
		"list of lists": {"ignore: [date", "ignore: [[date]"},
	} {
		text := strings.Replace(strings.Replace(house, "topic: housing\n", "topic: housing\n  max_record_bytes: ${MAX:-1}\n", 1), "field: price}", "field: price, format: json}", 1)
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatalf("%s: nothing changed", name)
		}
		if faults := validate(schema, decodeYAML(t, changed), ""); len(faults) == 0 {
			t.Errorf("%s: accepted", name)
		}
	}
	walk("", pipelineFields(), func(path string, f *field) {
		if f.key != "" && !strings.Contains(string(JSONSchema()), `"`+f.key+`": {`) {
			t.Errorf("the schema lacks %s", path)
		}
	})
}

const minimal = `
version: 1
name: x
schema: {numeric: [y, a]}
source: {topic: t}
train: {data: d.csv, label: y}
sink: {topic: p}
dead_letter: {topic: q}
`

func TestMinimal(t *testing.T) {
	t.Parallel()
	p, err := Parse("x.yaml", []byte(minimal), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Group != "x" || p.Sink.Field != "prediction" || p.Model.Registry != "models" || !slices.Equal(p.Kafka.Brokers, []string{"localhost:9092"}) || !slices.Equal(p.Inputs, []string{"a"}) {
		t.Errorf("%+v", p)
	}
}

func decodeYAML(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Load([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// validate holds v to a JSON Schema, as far as ours uses the language.
func validate(schema map[string]any, v any, path string) (faults []string) {
	for _, word := range slices.Sorted(maps.Keys(schema)) {
		switch want := schema[word].(type) {
		case string:
			if s, ok := v.(string); ok && word == "pattern" && !strings.Contains(s, "${") {
				faults = append(faults, path+": pattern")
			}
			if word == "type" && !hasType(v, want) {
				faults = append(faults, path+": type")
			}
		case []any:
			faults = append(faults, validateList(word, want, v, path)...)
		case float64:
			if x, ok := v.(float64); ok && (word == "minimum" && x < want || word == "maximum" && x > want) {
				faults = append(faults, path+": "+word)
			}
		case bool, map[string]any:
			faults = append(faults, validateParts(word, schema, v, path)...)
		}
	}
	return faults
}

func validateList(word string, want []any, v any, path string) []string {
	for _, one := range want {
		switch word {
		case "enum":
			if one == v {
				return nil
			}
		case "type":
			if name, ok := one.(string); ok && hasType(v, name) {
				return nil
			}
		case "anyOf":
			if s, ok := one.(map[string]any); ok && len(validate(s, v, path)) == 0 {
				return nil
			}
		case "required":
			m, isMap := v.(map[string]any)
			if key, ok := one.(string); ok && isMap && m[key] == nil {
				return []string{path + ": lacks " + key}
			}
		}
	}
	if word == "required" {
		return nil
	}
	return []string{path + ": " + word}
}

func validateParts(word string, schema map[string]any, v any, path string) (faults []string) {
	switch v := v.(type) {
	case []any:
		if items, ok := schema["items"].(map[string]any); ok && word == "items" {
			for _, x := range v {
				faults = append(faults, validate(items, x, path+"[]")...)
			}
		}
	case map[string]any:
		if word != "additionalProperties" {
			break
		}
		properties, _ := schema["properties"].(map[string]any)
		for key, x := range v {
			part, known := properties[key].(map[string]any)
			if !known {
				part, known = schema["additionalProperties"].(map[string]any)
			}
			if !known {
				faults = append(faults, path+": key "+key)
				continue
			}
			faults = append(faults, validate(part, x, path+"."+key)...)
		}
	}
	return faults
}

func hasType(v any, name string) bool {
	switch v := v.(type) {
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == float64(int64(v))
	case bool:
		return name == "boolean"
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	default:
		return name == "null"
	}
}
