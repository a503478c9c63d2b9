package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
	"millrace.dev/feature"
	"millrace.dev/internal/secret"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

func anyText() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune("ab$ {}:#-[]'\"\\\n\té京,|>&*!%@`=~")), 0, 12, -1)
}

// TestExpand checks substitution: whatever a variable holds becomes the text of its value, and only that; a text whose $ are
// doubled comes back as it was.
func TestExpand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		env := map[string]string{}
		var raw, want strings.Builder
		for i := range rapid.IntRange(1, 5).Draw(t, "parts") {
			name := fmt.Sprintf("V%d", i)
			text := anyText().Draw(t, "text")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				raw.WriteString(strings.ReplaceAll(text, "$", "$$"))
				want.WriteString(text)
			case 1:
				env[name] = text
				raw.WriteString("${" + name + "}")
				want.WriteString(text)
			case 2:
				env[name] = text
				raw.WriteString("${" + name + ":-or}")
				if text == "" {
					text = "or"
				}
				want.WriteString(text)
			default:
				def := strings.ReplaceAll(text, "}", "")
				raw.WriteString("${" + name + ":-" + def + "}")
				want.WriteString(def)
			}
		}
		if want.Len() == 0 {
			t.Skip("an empty value is no value")
		}
		quoted, err := json.Marshal(raw.String()) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(minimal, "train: {", "train: {where: 'a > 0', ", 1) + "features: {f: " + string(quoted) + "}\n"
		d := decoder{p: &Pipeline{}, ps: &problemList{}, env: lookup(env), at: map[string]*node{}, keys: map[string]*node{}, failed: map[string]bool{}}
		root := d.parse(newSource("p.yaml", 0, text), len(text))
		if root == nil {
			t.Fatalf("%q: %v", text, d.ps.problems())
		}
		d.fields(root, "", pipelineFields())
		if err := d.ps.problems(); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := d.p.Features[0].Expr; got != want.String() {
			t.Fatalf("%q gives %q, want %q", raw.String(), got, want.String())
		}
		if d.p.Train.Where != "a > 0" || d.p.Sink.Topic != "p" {
			t.Fatal("another key changed")
		}
	})
}

// TestSet checks that an override gives the pipeline that the same value in the file gives.
func TestSet(t *testing.T) {
	t.Parallel()
	settings := map[string][]string{
		"train.gbm.ntrees":          {"1", "200"},
		"train.gbm.learn_rate":      {"0.5", "1e-3"},
		"train.gbm.label_transform": {"log", "none"},
		"train.split.seed":          {"7", "9223372036854775807"},
		"train.where":               {"y > 0 and a == 3", "a > 1 ? y > 2 : y > 3"},
		"train.ignore":              {"b", "b,c"},
		"kafka.brokers":             {"a:1", "a:1,[::1]:2"},
		"kafka.tls.enabled":         {"true", "false"},
		"features.f":                {"a + 1", "a == 2 ? 'x: #y' : 'z'", "7"},
		"features.x y":              {"column(\"a\")"},
		"model.registry":            {"/m", "../m"},
		"sink.field":                {"y", "out"},
		"guarantee":                 {"at_least_once"},
		"commit_interval":           {"20ms", "2s"},
		"group":                     {"g"},
		"source.start":              {"latest"},
		"schema.required":           {"a", "a,b"},
	}
	base := strings.Replace(minimal, "[y, a]", "[y, a, b, c, d]", 1)
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(settings))), 1, 6, rapid.ID).Draw(t, "keys")
		root := map[string]any{}
		if err := yaml.Load([]byte(base), &root); err != nil {
			t.Fatal(err)
		}
		var o Options
		for _, key := range keys {
			first := rapid.SampledFrom(settings[key]).Draw(t, "overridden")
			value := rapid.SampledFrom(settings[key]).Draw(t, key)
			o.Set = append(o.Set, key+"="+first, key+"="+value)
			m, parts := root, strings.Split(key, ".")
			for _, p := range parts[:len(parts)-1] {
				next, ok := m[p].(map[string]any)
				if !ok {
					next = map[string]any{}
					m[p] = next
				}
				m = next
			}
			m[parts[len(parts)-1]] = value
			if key == "train.ignore" || key == "schema.required" {
				m[parts[len(parts)-1]] = strings.Split(value, ",")
			}
		}
		byOverride, err := Parse("p.yaml", []byte(base), o)
		if err != nil {
			t.Fatalf("%q: %v", o.Set, err)
		}
		byFile, err := Parse("p.yaml", mustJSON(root), Options{})
		if err != nil {
			t.Fatalf("%s: %v", mustJSON(root), err)
		}
		slices.SortFunc(byFile.Features, func(a, b feature.Spec) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(byOverride.Features, func(a, b feature.Spec) int { return strings.Compare(a.Name, b.Name) })
		slices.Sort(byFile.Inputs)
		slices.Sort(byOverride.Inputs)
		if diff := cmp.Diff(byFile, byOverride, cmp.AllowUnexported(secret.Text{}), cmp.Comparer(func(a, b *record.Schema) bool {
			return bytes.Equal(mustJSON(a), mustJSON(b))
		}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q: %s", o.Set, diff)
		}
		for i := range o.Set {
			o.Set[i] = o.Set[i][:strings.Index(o.Set[i], "=")+1] // takes the key out again
		}
		back, err := Parse("p.yaml", []byte(base), o)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := Parse("p.yaml", []byte(base), Options{}); err != nil || back.Train.GBM != plain.Train.GBM || len(back.Features) != len(plain.Features) || back.Group != plain.Group {
			t.Fatalf("%q does not take the keys out: %+v %v", o.Set, back, err)
		}
	})
}

func TestSetControlCharacters(t *testing.T) {
	t.Parallel()
	_, err := Parse("p.yaml", []byte(minimal), Options{Set: []string{"group=a\x01b", "name=\xff", "group=g"}})
	want := "--set #1: control characters are not allowed\n--set #2: this byte is not UTF-8 text"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// TestSecretsStaySecret checks that no way to print a pipeline, a secret or a problem shows a password.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const pw = "hunter2"
	p, err := Parse("p.yaml", []byte(house), Options{Env: lookup(map[string]string{"PW": pw})})
	if err != nil {
		t.Fatal(err)
	}
	s := p.Kafka.SASL.Password
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&b, verb+"\n", s)
		fmt.Fprintf(&b, verb+"\n", &s)
		fmt.Fprintf(&b, verb+"\n", p)
		fmt.Fprintf(&b, verb+"\n", p.Kafka)
	}
	b.Write(mustJSON(p.Kafka))
	b.Write(mustJSON(map[string]secret.Text{"a": s}))
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", slog.Any("s", s), slog.Any("p", p.Kafka))
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", slog.Any("s", s), slog.Any("p", p.Kafka))
	fmt.Fprintln(&b, fmt.Errorf("it failed: %v", s), errors.Join(fmt.Errorf("%+v", p.Kafka.SASL)))
	if strings.Contains(b.String(), pw) || strings.Contains(b.String(), fmt.Sprintf("%x", pw)) {
		t.Errorf("the password is printed: %s", b.String())
	}
	if !strings.Contains(b.String(), secret.Redacted) || s.Reveal() != pw {
		t.Error("the secret is gone")
	}
	var none secret.Text
	if none.String() != "" || !none.IsZero() {
		t.Error("an empty secret")
	}
}

// TestProblemsHideSecrets checks that no problem shows a password that stands in the file, or a variable's value.
func TestProblemsHideSecrets(t *testing.T) {
	t.Parallel()
	const pw = "hunter2"
	for _, text := range []string{
		"kafka: {sasl: {password: hunter2, x: 1}}",
		"kafka:\n  sasl:\n    password: hunter2\n    username: [a]\n",
		"kafka:\n  sasl:\n    passwort: hunter2\n",
		"kafka:\n  sasl:\n    pass: hunter2\n    pwd: |\n      hunter2\n",
		"kafka:\n  sasl:\n    password: >-\n\n      hunter2\n      hunter2: x\n    usernam: u\n",
		"kafka:\n  sasl:\n    password:\n      - hunter2\n      - [hunter2: hunter2]\n",
		"kafka:\n  sasl: {\"password\": \"hunter2\n hunter2\", password: 'hunter2'}\n",
		"kafka: {sasl: {password: hunter2, password_file: x\n",
		"kafka: {sasl: {password: hunter2\nhunter2, mechanisms: x\n, y: 1}}\n",
		"kafka: {sasl: {password: a\n   b\nhunter2, mechanisms: x, y: [}}\n",
		"kafka:\n  sasl:\n    password: \"hunter2\n    hunter2\n",
		"password: hunter2: x\n",
		"kafka: {sasl: {password: ${PW}}}",
		"kafka: {sasl: {password: \"${PW:-hunter2}\", mechanism: x}}",
		"kafka: {sasl: {mechanism: \"${PW}\", username: [\"${PW}\"]}, brokers: \"${PW}/,b/\"}",
		"name: \"${PW} x\"\ngroup: \"${PW}/\"\nguarantee: ${PW}\ncommit_interval: ${PW}\ntrain: {label: \"${PW}\", ignore: [\"${PW}\"], where: \"${PW} > 1\"}\n" +
			"schema: {numeric: [y], time: [{name: x, zone: \"${PW}\", layouts: [\"${PW}\"]}], required: [\"${PW}1\"]}\nfeatures: {a: \"${PW} + 1\", b: '\"${PW}\" + 1 + ${PW}'}\n" +
			"sink: {field: \"${PW}\", topic: \"${PW}/\"}\n",
	} {
		_, err := Parse("p.yaml", []byte(text), Options{Env: lookup(map[string]string{"PW": pw}), Set: []string{"kafka.sasl.password=hunter2", "kafka.sasl.passwd=hunter2", "kafka.sasl.password.x=hunter2"}})
		ps := asProblems(err)
		var b strings.Builder
		if err := ps.WriteText(&b, true); err != nil {
			t.Fatal(err)
		}
		b.WriteString(ps.Error())
		b.Write(mustJSON(ps))
		fmt.Fprintf(&b, "%v", ps)
		shown := strings.ReplaceAll(b.String(), "--set #", "")
		if len(ps) == 0 || strings.Contains(shown, pw) {
			t.Errorf("%s\n%s", text, b.String())
		}
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
