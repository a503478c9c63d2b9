package feature

import (
	"bytes"
	"testing"

	"millrace.dev/record"
)

// FuzzReadPlan feeds bytes to ReadPlan: they are refused, or they are a plan that has exactly these bytes, and
// that fits and evaluates.
func FuzzReadPlan(f *testing.F) {
	p := compile(f, houseSchema(f), houseSpecs(), houseInputs()...)
	f.Add(encoded(f, p))
	f.Add(fittedBytes(f))
	f.Add(encoded(f, enrichedPlan(f)))
	s := randomSchema()
	for _, spec := range append(everySpec(), everyLibrarySpec()...) {
		f.Add(encoded(f, compile(f, s, []Spec{spec}, spec.Name)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ReadPlan(b)
		if err != nil {
			return
		}
		exercise(t, p)
		if !bytes.Equal(encoded(t, p), b) {
			t.Error("the plan has other bytes")
		}
	})
}

// exercise does with a plan all that can be done with it.
func exercise(t *testing.T, p *Plan) {
	t.Helper()
	b := anyBatch(p.Schema(), p.Levels())
	if p.layout != nil {
		p.NewEvaluator().Eval(b, Enrichment{})
	}
	fitted := p
	for first := true; first || !fitted.Fitted(); first = false {
		f := fitted.NewFitter()
		f.Add(b, nil, Enrichment{})
		var err error
		if fitted, err = f.Plan(); err != nil {
			if len(Errors(err)) == 0 {
				t.Fatal(err)
			}
			return // such as too many elements
		}
	}
	back, err := ReadPlan(encoded(t, fitted))
	if err != nil {
		t.Fatalf("a fitted plan is not read: %v", err)
	}
	if back.Digest() != fitted.Digest() {
		t.Fatal("the digest changes on reading")
	}
	known := record.NewBatch(p.Schema(), fitted.Levels())
	one, two := fitted.NewEvaluator().Eval(b, Enrichment{}), back.NewEvaluator()
	if err := sameFrame(one, two.Eval(anyBatch(known.Schema(), fitted.Levels()), Enrichment{})); err != nil {
		t.Fatal(err)
	}
	p.Digest()
	p.Used()
}

// FuzzCompile feeds texts to the compiler: faults are inside the text, and a plan can be stored and run.
func FuzzCompile(f *testing.F) {
	for _, spec := range append(everySpec(), everyLibrarySpec()...) {
		f.Add(spec.Expr)
	}
	for _, spec := range houseSpecs() {
		f.Add(spec.Expr)
	}
	for name, function := range newFunctions() {
		if len(function.options) > 0 {
			f.Add(function.usage)
			f.Add("x > 1 ? " + name + "(e, top: 2) : x | " + name + "(low: 1)")
		}
	}
	for _, src := range []string{
		"cross(one_hot(e), bucketize(x, splits: [0, 1]), by: 'max')", "normalize(polynomial(vector(x, y), degree: 3))", "z_score(x, e) ?? target_mean(e, y)", "x in [one_hot(e)]",
		"x in [", "x ?: y", "a.b[c]?.d()", "let a = 1; a", "if x > 1 { e } else { s }", "x between 1", "{'a': #}", "filter([1], # > 1)", "b'x'",
		"\"\\UFFFFFFFF\"", "1 < x < 2 < y", "x | min(y)", "'a' not matches \"b\"", "matches matches 'matches'", "column('odd name')", "$env", "::len(e)", "é + 'ü'", "x ?? y + 1",
	} {
		f.Add(src)
	}
	s := randomSchema()
	f.Fuzz(func(t *testing.T, src string) {
		if p, err := CompilePredicate(s, src); err == nil {
			b := anyBatch(s, nil)
			p.Eval(b, make([]bool, b.Len()))
		}
		p, err := Compile(Declaration{Schema: s, Features: []Spec{{"other", "x + 1"}, {"f", src}}, Inputs: []string{"f"}})
		if err == nil {
			exercise(t, p)
			return
		}
		all := Errors(err)
		for _, e := range all {
			if e.Msg == "" || e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(src) {
				t.Fatalf("%q: %+v", src, e)
			}
		}
		if len(all) == 0 {
			t.Fatalf("%q: an error without a fault: %v", src, err)
		}
	})
}

// FuzzRules feeds texts to the compiler of rules: faults are inside the text, an evaluator and a probe agree, and the inputs of
// the model stay what they are.
func FuzzRules(f *testing.F) {
	for _, src := range []string{
		"x between 1 and 9", "x between 1 and y and e in training", "x in training", "not (e in training)", "column('odd name') in training", "t in training", "other in training or x < 2",
		"x between y between 1 and 2 and 3", "x not between (1 and 2) and 3", "between(x, 1, 2) == x between 1 and 2", "is_missing(x)", "hot_a == 1", "hot in training", "x between", "x and between 1 and 2",
		"x in training in training", "x between 'and' and 'between'", "standard(x) > 1", "x matches 'a' and between", "[x between 1 and 2]", "e between 'a' and f", "x is between 1 and 2",
	} {
		f.Add(src)
	}
	s := randomSchema()
	d := Declaration{Schema: s, Features: []Spec{{"other", "x + 1"}, {"hot", "one_hot(e)"}, {"idle", "x * 2"}, {"lost", "standard(y)"}}, Inputs: []string{"e", "x", "other", "hot"}}
	unfitted, err := Compile(d)
	if err != nil {
		f.Fatal(err)
	}
	fitter := unfitted.NewFitter()
	fitter.Add(anyBatch(s, nil), nil, Enrichment{})
	fitted, err := fitter.Plan()
	if err != nil {
		f.Fatal(err)
	}
	ranges := []TrainingRange{{"x", -1, 1}, {"other", 0, 2}}
	want := fitted.NewEvaluator().Eval(anyBatch(s, fitted.Levels()), Enrichment{})
	f.Fuzz(func(t *testing.T, src string) {
		for _, p := range []*Plan{unfitted, fitted} {
			r, err := p.CompileRules("y", []Rule{{"r", src}, {"s", "is_missing(e)"}}, ranges)
			for _, e := range Errors(err) {
				if e.Msg == "" || e.Feature != "r" || e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(src) {
					t.Fatalf("%q: %+v", src, e)
				}
			}
			if err != nil {
				if len(Errors(err)) == 0 {
					t.Fatalf("%q: an error without a fault: %v", src, err)
				}
				continue
			}
			b := anyBatch(s, fitted.Levels())
			verdicts := r.NewProbe().Eval(b, Enrichment{})
			if p == unfitted {
				continue
			}
			e := r.NewEvaluator()
			if err := sameFrame(want, e.Eval(b, Enrichment{})); err != nil {
				t.Fatalf("%q: %v", src, err)
			}
			for rule, v := range verdicts {
				broken := false
				for _, x := range e.Broken() {
					broken = broken || x == Broken{0, int32(rule)}
				}
				if broken != (v == VerdictBroken) || v == VerdictUnknown {
					t.Fatalf("%q: rule %d: verdict %d, broken %t", src, rule, v, broken)
				}
			}
		}
	})
}
