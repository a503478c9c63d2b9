package feature

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"millrace.dev/record"
)

// TestSameBitsEverywhere has the digest of what many expressions give for many rows, as computed on amd64. Any
// other machine must give it too. It changes only with the meaning of expressions.
func TestSameBitsEverywhere(t *testing.T) {
	t.Parallel()
	const want = "11f2fe6a20ef26c345569048707defa2c6ad59b0a692affe81287342b1866f4e"
	s := houseSchema(t)
	specs := append(houseSpecs(),
		Spec{"fma", "price * sqft_lot + sqft_living * bedrooms - floors * yr_built"},
		Spec{"fma2", "(price / 7) * (bedrooms / 3) + (sqft_lot / 11) * (floors / 13)"},
		Spec{"transcendental", "exp(price / 999) * log(sqft_lot / 3) + log1p(1 / price) - sqrt(bedrooms)"},
		Spec{"powers", "(price / 1000) ** 3.7 + floors ** -2 + (bedrooms / 77) ** 11"},
		Spec{"rest", "price % 7.3 + round(price / 8) + min(price, floors) * max(floors, bedrooms) + clip(price, 100, 200)"},
		Spec{"dates", "hour(date, 'Asia/Tokyo') + weekday(date) * days_since(date, time('2010-01-01T03:04:05Z')) / unix(date)"},
		Spec{"texts", "text(price / 7) + upper(street) + city[3:]"},
		Spec{"numbers", "number(text(price / 7)) * number(statezip[3:]) + len(street)"},
		Spec{"logic", "price > 100 ? floors < 7 and bedrooms > 2 : nil"},
	)
	inputs := []string{"price", "city"}
	for _, spec := range specs {
		inputs = append(inputs, spec.Name)
	}
	b := houseBatch(t, s, nil, 3000)
	frame := fitOn(t, compile(t, s, specs, inputs...), b).NewEvaluator().Eval(b, Enrichment{})
	h := sha256.New()
	for _, c := range frame.Columns {
		for i := range frame.Rows {
			var bits uint64
			if c.Type == record.Enum {
				bits = uint64(c.Codes[i])
			} else {
				bits = math.Float64bits(c.Numbers[i])
			}
			h.Write(binary.LittleEndian.AppendUint64(nil, bits))
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
