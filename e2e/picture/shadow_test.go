package picture

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"millrace.dev/internal/drift"
	"millrace.dev/internal/report"
	"millrace.dev/internal/shadow"
)

// compared returns what comparing two made-up models says, of which the candidate errs less, and predicts too little for large houses.
func compared(t *testing.T) *shadow.Report {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 5))
	tally := shadow.NewTally(shadow.Options{Beyond: 50_000, Top: 4})
	losses := shadow.NewLosses(shadow.LossOptions{Metric: shadow.Squared, WorseBy: 0.01, Alpha: 0.05})
	for i := range 12_000 {
		price := math.Exp(13 + float64(0.5*rng.NormFloat64()))
		a := price * math.Exp(float64(0.25*rng.NormFloat64()))
		b := math.Exp(math.Log(price)+float64(0.7*(math.Log(a)-math.Log(price)))+float64(0.05*rng.NormFloat64())) - max(0, float64(0.1*(price-900_000)))
		at := int64(1_400_000_000_000 + i*60_000)
		tally.Add(shadow.Stream{Source: int32(i % 4)}, &shadow.Prediction{Offset: int64(i / 4), Value: a, Timestamp: at, Model: int32(i / 9000)}, &shadow.Prediction{Offset: int64(i / 4), Value: b, Timestamp: at})
		if i%3 == 0 {
			losses.Add(a, b, price)
		}
	}
	r := &shadow.Report{
		Pipeline: "house-prices", Source: "housing", Label: "price", Unit: "$", Labels: &shadow.Labels{Topic: "house-prices.outcomes", Expired: 211},
		Production: shadow.Side{Topic: "predictions", Read: 12_034, Alone: shadow.Absences{Lacking: 3, Before: 31}, Letters: map[string]int64{"decode/invalid_json": 14}},
		Candidate:  shadow.Side{Topic: "house-prices.shadow", Model: "house-prices@4", Read: 12_001, Alone: shadow.Absences{Behind: 1}, Letters: map[string]int64{"decode/invalid_json": 14, "table/no_row": 3}},
		Scoring:    &shadow.Scoring{Records: 1000, Production: 2140, Candidate: 3380},
		Notes:      []string{"3 records in house-prices.shadow are of other models, or no predictions of housing"},
	}
	tally.Into(r, func(m int32) string { return fmt.Sprintf("house-prices@%d", 2+m) })
	if err := losses.Into(r.Labels); err != nil {
		t.Fatal(err)
	}
	for i, f := range tally.Top() {
		top := shadow.Top{
			Source: fmt.Sprintf("housing/%d/%d", f.Stream.Source, f.Production.Offset), Model: "house-prices@2", Production: f.Production.Value, Candidate: f.Candidate.Value,
			Label: drift.Number(f.Candidate.Value * 1.1), Expected: &[2]float64{541_200, 538_700},
		}
		for k, name := range []string{"sqft_living", "statezip", "view", "age", "income", "bedrooms", "waterfront"} {
			top.Inputs = append(top.Inputs, shadow.Input{
				Name: name, Value: []string{"8010", `"WA 98039"`, `"4"`, "12", "missing", "6", `"1"`}[k],
				Production: drift.Number((f.Production.Value - 541_200) / float64(k+2)), Candidate: drift.Number((f.Candidate.Value - 538_700) / float64(k+2)),
			})
		}
		if i == 3 {
			top.Inputs, top.Expected, top.Lacks, top.Label = nil, nil, "the record is not in the topic any more", drift.Number(math.NaN())
		}
		r.Top = append(r.Top, top)
	}
	r.Bounds = []shadow.Bound{
		shadow.NewBound("share that differs by more than 50000", 0.5, float64(r.Agreement.Different)/float64(r.Pairs), true),
		shadow.NewBound("mean difference, without its sign", 5000, math.Abs(float64(r.Difference.Mean)), false),
	}
	return r
}

func TestShadow(t *testing.T) {
	var b bytes.Buffer
	if err := report.Shadow(&b, compared(t)); err != nil {
		t.Fatal(err)
	}
	look(t, "shadow", b.Bytes())
}

// TestHostileShadow has names that are as bad as names can be, and differences of any size.
func TestHostileShadow(t *testing.T) {
	bad := strings.Repeat("</script><script>x</script>\u202e", 9) + strings.Repeat("W", 150)
	r := compared(t)
	r.Pipeline, r.Source, r.Label, r.Unit, r.Production.Topic, r.Candidate.Model = bad, bad, bad, bad, bad, bad
	r.Production.Letters = map[string]int64{bad: 3}
	r.Notes = append(r.Notes, bad)
	for i := range r.Top {
		r.Top[i].Source, r.Top[i].Model, r.Top[i].Candidate = bad, bad, 1e300
		for k := range r.Top[i].Inputs {
			r.Top[i].Inputs[k].Name, r.Top[i].Inputs[k].Value, r.Top[i].Inputs[k].Production = bad, bad, -1e200
		}
	}
	for i := range r.Models {
		r.Models[i].Model = bad
	}
	r.Bins = append(r.Bins, shadow.Bin{Low: -1e300, High: 1e300, Pairs: 1 << 40})
	var b bytes.Buffer
	if err := report.Shadow(&b, r); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, "<script") || strings.Contains(s, "\u202e") {
		t.Error("the page holds what names say as it is")
	}
	look(t, "hostile-shadow", b.Bytes())
}
