package feature

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"millrace.dev/record"
)

// someFunctions take and give every type.
func someFunctions() []Function {
	return []Function{
		{Name: "half", Version: "1", Args: []Type{TypeNumber}, Result: TypeNumber, Call: func(args []Column, out *Column) {
			for i, x := range args[0].Numbers {
				out.Numbers[i] = x / 2
				args[0].Numbers[i] = 77 // its own copy
			}
		}},
		{Name: "odd", Version: "1", Args: []Type{TypeNumber, TypeBool}, Result: TypeBool, Call: func(args []Column, out *Column) {
			for i, x := range args[0].Numbers {
				if b := args[1].Numbers[i]; b == b {
					out.Numbers[i] = math.Abs(math.Mod(x, 2)) * b * 5
				}
			}
		}},
		{Name: "initial", Version: "v2.0", Args: []Type{TypeText}, Result: TypeText, Call: func(args []Column, out *Column) {
			for i, t := range args[0].Texts {
				if _, n := utf8.DecodeRuneInString(t.S); n > 0 {
					out.Texts[i] = record.Text{S: t.S[:n], OK: true}
				}
			}
		}},
		{Name: "later", Version: "1", Args: []Type{TypeTime, TypeNumber, TypeText}, Result: TypeTime, Call: func(args []Column, out *Column) {
			for i, at := range args[0].Times {
				if at != record.MissingTime && args[2].Texts[i].OK {
					out.Times[i] = at + int64(args[1].Numbers[i]*1e6)
				}
			}
		}},
		{Name: "infinite", Version: "1", Args: []Type{TypeNumber}, Result: TypeNumber, Call: func(_ []Column, out *Column) {
			for i := range out.Numbers {
				out.Numbers[i] = math.Inf(1)
			}
		}},
	}
}

// TestUserFunctions compiles, stores, reads and runs functions of a program, on rows, on levels and on literals.
func TestUserFunctions(t *testing.T) {
	t.Parallel()
	specs := []Spec{
		{"a", "half(x) + x"},
		{"b", "odd(x, y > 1)"},
		{"c", "initial(e)"},
		{"d2", "initial(s + 'z')"},
		{"f", "unix(later(d, x, s)) - unix(d)"},
		{"g2", "infinite(x)"},
		{"h", "half(3)"},
		{"i", "initial(nil)"},
		{"j", "standard(half(x))"},
		{"k", "one_hot(initial(e))"},
	}
	inputs := []string{"a", "b", "c", "d2", "f", "g2", "h", "i", "j", "k"}
	p, err := Compile(Declaration{Schema: randomSchema(), Features: specs, Inputs: inputs, Functions: someFunctions()})
	if err != nil {
		t.Fatal(err)
	}
	b := anyBatch(p.Schema(), nil)
	p = fitOn(t, p, b)
	stored := encoded(t, p)
	back, err := ReadPlan(stored, someFunctions()...)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(back.Functions()); got != "[half@1 infinite@1 initial@v2.0 later@1 odd@1]" {
		t.Error(got)
	}
	if back.Digest() != p.Digest() {
		t.Error("another digest")
	}
	frame := p.NewEvaluator().Eval(b, Enrichment{})
	if err := sameFrame(frame, back.NewEvaluator().Eval(anyBatch(p.Schema(), p.Levels()), Enrichment{})); err != nil {
		t.Error(err)
	}
	missing := 0
	for i := range frame.Rows {
		x := b.Numbers(0)[i]
		if got := frame.Columns[0].Numbers[i]; x == x && got != finite(x/2+x) {
			t.Errorf("row %d: half(%v) + x is %v", i, x, got)
		}
		if got := frame.Columns[6].Numbers[i]; got != 1.5 {
			t.Errorf("half(3) is %v", got)
		}
		if frame.Columns[5].Numbers[i] == frame.Columns[5].Numbers[i] || frame.Columns[7].Codes[i] >= 0 {
			t.Errorf("row %d: an infinite number or an initial of nothing is there", i)
		}
		if frame.Columns[2].Codes[i] < 0 {
			missing++
		}
	}
	if missing == 0 || missing == frame.Rows {
		t.Errorf("%d of %d rows have no initial", missing, frame.Rows)
	}
}

func TestReadPlanWantsFunctions(t *testing.T) {
	t.Parallel()
	p, err := Compile(Declaration{Schema: randomSchema(), Features: []Spec{{"a", "half(x)"}}, Inputs: []string{"a"}, Functions: someFunctions()})
	if err != nil {
		t.Fatal(err)
	}
	stored := encoded(t, p)
	half := someFunctions()[0]
	newer, other := half, half
	newer.Version = "2"
	other.Result = TypeBool
	for want, functions := range map[string][]Function{
		"half@1":                               nil,
		"it calls half@1, and half@2 is given": {newer},
		"half@1 takes (number) there and gives a number, and half(number) is given, which gives a bool": {other},
	} {
		if _, err := ReadPlan(stored, functions...); !errors.Is(err, ErrFunction) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for old, with := range map[string]string{
		`"function":{`: `"call":{`, `"args":["number"]`: `"args":["number","text"]`, `"op":"function","args":[0]`: `"op":"function","args":[0,0]`, `"name":"half"`: `"name":"half","x":1`,
	} {
		if _, err := ReadPlan([]byte(strings.Replace(string(stored), old, with, 1)), half); err == nil {
			t.Errorf("%s: no error", with)
		}
	}
}

func TestFunctionsThatAreNone(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(f *Function){
		"no word":                 func(f *Function) { f.Name = "a b" },
		"has for something else":  func(f *Function) { f.Name = "not" },
		"there is a function":     func(f *Function) { f.Name = "lower" },
		"1 to 100 bytes":          func(f *Function) { f.Version = "" },
		"0 arguments":             func(f *Function) { f.Args = nil },
		"4 arguments":             func(f *Function) { f.Args = []Type{1, 1, 1, 1} },
		"one of its types":        func(f *Function) { f.Result = 9 },
		"of its types is none":    func(f *Function) { f.Args = []Type{0} },
		"has no Call":             func(f *Function) { f.Call = nil },
		"a function of this name": func(f *Function) { f.Name = "odd" },
	} {
		functions := someFunctions()[:2]
		change(&functions[0])
		if _, err := Compile(Declaration{Schema: randomSchema(), Functions: functions}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := ReadPlan(nil, functions...); err == nil {
			t.Errorf("%s: ReadPlan takes it", want)
		}
	}
	for _, src := range []string{"half(e)", "half()", "half(x, y)", "half(one_hot(e))", "half(x, top: 1)", "initial(x)"} {
		if _, err := Compile(Declaration{Schema: randomSchema(), Features: []Spec{{"f", src}}, Inputs: []string{"f"}, Functions: someFunctions()}); len(Errors(err)) == 0 {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// TestFunctionOfAnotherLength panics, as it says.
func TestFunctionOfAnotherLength(t *testing.T) {
	t.Parallel()
	bad := Function{Name: "bad", Version: "1", Args: []Type{TypeNumber}, Result: TypeNumber, Call: func(_ []Column, out *Column) { out.Numbers = append(out.Numbers, 1) }}
	p, err := Compile(Declaration{Schema: randomSchema(), Features: []Spec{{"f", "bad(x)"}}, Inputs: []string{"f"}, Functions: []Function{bad}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if got := fmt.Sprint(recover()); got != "feature: function bad@1 gave 31 values for 30 rows" {
			t.Error(got)
		}
	}()
	p.NewEvaluator().Eval(anyBatch(p.Schema(), nil), Enrichment{})
}

// TestFunctionAllocates nothing of its own.
func TestFunctionAllocates(t *testing.T) { //nolint:paralleltest // it counts allocations
	p, err := Compile(Declaration{Schema: randomSchema(), Features: []Spec{{"a", "half(x)"}, {"b", "number(initial(s)) ?? number(initial(e))"}}, Inputs: []string{"a", "b"}, Functions: someFunctions()})
	if err != nil {
		t.Fatal(err)
	}
	b, e := anyBatch(p.Schema(), nil), p.NewEvaluator()
	e.Eval(b, Enrichment{})
	if n := testing.AllocsPerRun(10, func() { e.Eval(b, Enrichment{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
