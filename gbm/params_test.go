package gbm

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultParams(t *testing.T) {
	t.Parallel()
	p := DefaultParams()
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for name, c := range map[string]struct {
		change func(*Params)
		want   []string
	}{
		"zero value": {func(p *Params) { *p = Params{} }, []string{
			"ntrees", "max_depth", "learn_rate", "min_rows", "nbins", "nbins_cats", "sample_rate",
			"col_sample_rate", "col_sample_rate_per_tree", "stopping_metric",
		}},
		"not numbers": {func(p *Params) {
			p.LearnRate, p.SampleRate, p.ColSampleRate, p.ColSampleRatePerTree = nan, nan, nan, nan
			p.MinSplitImprovement, p.CatSmooth, p.CatL2, p.StoppingTolerance = nan, nan, nan, nan
		}, []string{
			"learn_rate", "sample_rate", "col_sample_rate", "col_sample_rate_per_tree", "min_split_improvement",
			"cat_smooth", "cat_l2", "stopping_tolerance",
		}},
		"too large": {func(p *Params) {
			p.NTrees, p.MaxDepth, p.LearnRate, p.NBins, p.NBinsCats = 100_001, 61, 1.1, 256, 65_535
		}, []string{"ntrees", "max_depth", "learn_rate", "nbins", "nbins_cats"}},
		"negative": {func(p *Params) {
			p.CatMinRows, p.CatSmooth, p.CatL2, p.StoppingRounds, p.StoppingTolerance = -1, -1, -1, -1, -1
		}, []string{"cat_min_rows", "cat_smooth", "cat_l2", "stopping_rounds", "stopping_tolerance"}},
		"words": {func(p *Params) { p.LabelTransform, p.StoppingMetric = "sqrt", "auc" }, []string{"label_transform", "stopping_metric"}},
	} {
		p := DefaultParams()
		c.change(&p)
		joined, ok := p.Validate().(interface{ Unwrap() []error })
		if !ok {
			t.Errorf("%s: no joined errors", name)
			continue
		}
		var got []string
		for _, err := range joined.Unwrap() {
			var e *ParamError
			if !errors.As(err, &e) {
				t.Errorf("%s: %v is not a ParamError", name, err)
				continue
			}
			got = append(got, e.Param)
			if !strings.Contains(err.Error(), e.Param+": "+e.Value+": want ") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
