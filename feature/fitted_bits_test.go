package feature

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"millrace.dev/record"
)

// TestFittedBitsEverywhere has the digest of what the fitted functions learn from some rows and give for them, for training
// rows and for others, as computed on amd64. Any other machine must give it too.
func TestFittedBitsEverywhere(t *testing.T) {
	t.Parallel()
	const want = "ac7235be88f4135ab3c35b20be41027e392e73e71b90f28b54123060aa308aca"
	s := houseSchema(t)
	specs := []Spec{
		{"standard", "standard(price) + standard(sqft_lot, center: false)"},
		{"ranges", "min_max(price, low: -1) * max_abs(sqft_living - 2000) + impute(floors, by: 'mean')"},
		{"quantiles", "quantile_bucket(price, buckets: 7)"},
		{"outliers", "number(iqr_outlier(price)) + number(quantile_outlier(sqft_lot, buckets: 9))"},
		{"keys", "z_score(price, city)"},
		{"hot", "one_hot(city, top: 3, oov: 2, missing: true)"},
		{"words", "vocabulary(statezip, min_count: 3, oov: 5) + position(city)"},
		{"heavy", "heavy_hitters(statezip, top: 4)"},
		{"tokens", "n_hot(street, sep: ' ', top: 9)"},
		{"grams", "ngrams(lower(street), low: 2, high: 3, top: 9)"},
		{"hashed", "hash_n_hot(street, sep: ' ', size: 8)"},
		{"mdl", "mdl_bucket(sqft_living, price > 500000)"},
		{"target", "target_mean(city) + target_mean(statezip, log(price + 1), folds: 3, smoothing: 2.5)"},
		{"norm", "normalize(vector(price, sqft_lot, floors), p: 3)"},
		{"poly", "polynomial(vector(standard(price), standard(sqft_lot)), degree: 3)"},
		{"crossed", "cross(one_hot(view), quantile_bucket(sqft_living, buckets: 3))"},
		{"circle", "von_mises_points(hour(date), kappa: 3, scale: 0.2617993877991494, points: [0, 6, 12, 18])"},
		{"far", "haversine(47.6, -122.3, 47 + floors / 10, -122 - bedrooms / 10) + cycle_sin(unix(date), 86400)"},
	}
	var inputs []string
	for _, spec := range specs {
		inputs = append(inputs, spec.Name)
	}
	// The label is a column of its own, since these features use the price as if it were known.
	b := houseBatch(t, s, nil, 3000)
	p, err := Compile(Declaration{Schema: s, Features: specs, Inputs: inputs, Label: "yr_built"})
	if err != nil {
		t.Fatal(err)
	}
	for !p.Fitted() {
		if p, err = fitHalves(p, b); err != nil {
			t.Fatal(err)
		}
	}
	h := sha256.New()
	h.Write(encoded(t, p))
	for _, e := range []*Evaluator{p.NewEvaluator(), p.NewTrainingEvaluator()} {
		frame := e.Eval(b, Enrichment{})
		for _, c := range frame.Columns {
			for i := range frame.Rows {
				bits := uint64(0)
				if c.Type == record.Numeric {
					bits = math.Float64bits(c.Numbers[i])
				} else {
					bits = uint64(c.Codes[i])
				}
				h.Write(binary.LittleEndian.AppendUint64(nil, bits))
			}
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// fitHalves takes a plan through one pass over a batch, whose halves are fitted apart.
func fitHalves(p *Plan, b *record.Batch) (*Plan, error) {
	parts := []*Fitter{p.NewFitter(), p.NewFitter()}
	for half, f := range parts {
		keep := make([]bool, b.Len())
		for i := range keep {
			keep[i] = i%2 == half
		}
		f.Add(b, keep, Enrichment{})
	}
	parts[1].Merge(parts[0])
	return parts[1].Plan()
}
