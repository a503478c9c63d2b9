package config

import (
	"testing"

	"millrace.dev/model"
	"pgregory.net/rapid"
)

// TestNameIsOneOfAModel holds the pipeline's name to the rule for models: else training fails when it is done.
func TestNameIsOneOfAModel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"House_Prices.csv": "house-prices-csv", "my.houses": "my-houses", "-": "pipeline", "größe": "gr-e", "a__b": "a-b",
	} {
		if got := Name(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9._-]{0,120}`)).Draw(t, "text")
		if name := Name(text); model.CheckName(name) != nil || checkName(name) != nil {
			t.Fatalf("%q: %q is not a name", text, name)
		}
		if checkName(text) == nil && model.CheckName(text) != nil {
			t.Fatalf("%q: the pipeline file may have a name that no model can have", text)
		}
	})
}
