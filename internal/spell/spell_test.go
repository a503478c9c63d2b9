package spell

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"sqft_living", "sqft_lot", "city", "ks"}
	for word, want := range map[string]string{
		"sqft_livin": "sqft_living", "SQFT_LOT": "sqft_lot", "ctiy": "city", "price": "", "": "", "k": "ks",
		strings.Repeat("x", maxLen+1): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
