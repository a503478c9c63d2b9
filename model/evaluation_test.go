package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// evaluated returns a small bundle with an evaluation of 4 rows.
func evaluated(t testing.TB) *Bundle {
	t.Helper()
	b := small(t)
	b.Metrics.Test.Rows, b.Lineage.Rows.Test, b.Lineage.Rows.Read = 4, 4, 47
	b.Evaluation = &Evaluation{
		Rows: 4, MeanRMSE: 12, MeanMAE: math.NaN(), Edges: []float64{-1, 0.5}, Grid: []int{1, 0, 0, 0, 2, 0, 0, 0, 1},
		ErrorEdges: []float64{0}, ErrorCounts: []int{1, 3},
		Groups:   []ErrorGroup{{Upper: 0, Rows: 3, Bias: -1, MAE: 1, Low: -2, Median: -1, High: 0}, {Upper: 1, Rows: 1}},
		Absolute: []ErrorQuantile{{0.5, 0}, {1, 2}},
	}
	return b
}

func TestEvaluationRoundTrip(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*Bundle{"with": evaluated(t), "without": small(t)} {
		data := encode(t, b)
		back, err := Decode(data)
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(b.Evaluation, back.Evaluation, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
			t.Error(name, diff)
		}
		if !bytes.Equal(encode(t, back), data) {
			t.Errorf("%s: what was read is written as something else", name)
		}
	}
}

func TestEvaluationWithItsLimits(t *testing.T) {
	t.Parallel()
	b := evaluated(t)
	e, n := b.Evaluation, MaxEvaluationBins
	e.Edges, e.Grid = make([]float64, n-1), make([]int, n*n)
	for i := range e.Edges {
		e.Edges[i] = -1.7976931348623157e300 + float64(i)*1e298
	}
	e.ErrorEdges, e.ErrorCounts = e.Edges, make([]int, n)
	b.Metrics.Test.Rows = 1_000_000_000 * n * n
	e.Rows, b.Lineage.Rows.Test, b.Lineage.Rows.Read = b.Metrics.Test.Rows, b.Metrics.Test.Rows, b.Metrics.Test.Rows+43
	for i := range e.Grid {
		e.Grid[i] = 1_000_000_000
	}
	for i := range e.ErrorCounts {
		e.ErrorCounts[i] = 1_000_000_000 * n
	}
	e.Groups, e.Absolute = nil, nil
	for i := range maxGroups {
		x := float64(i) + 1.0/3
		e.Groups = append(e.Groups, ErrorGroup{Upper: x, Rows: e.Rows / maxGroups, Bias: -x, MAE: x, Low: -x, Median: x, High: x})
		e.Absolute = append(e.Absolute, ErrorQuantile{P: x / maxGroups, Error: x})
	}
	e.Relative = e.Absolute
	text, err := encodeJSON(e)
	if err != nil || len(text) > 20<<10 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if _, err := Decode(encode(t, b)); err != nil {
		t.Error(err)
	}
}

func TestEncodeRefusesEvaluations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Evaluation)
		want   string
	}{
		"rows":             {func(e *Evaluation) { e.Rows = 5 }, "5 rows"},
		"mean below 0":     {func(e *Evaluation) { e.MeanRMSE = -1 }, "below 0"},
		"edges equal":      {func(e *Evaluation) { e.Edges[1] = -1 }, "ascend"},
		"edge NaN":         {func(e *Evaluation) { e.Edges[1] = math.NaN() }, "ascend"},
		"grid cut":         {func(e *Evaluation) { e.Grid = e.Grid[1:] }, "8 counts"},
		"too many edges":   {func(e *Evaluation) { e.ErrorEdges = make([]float64, MaxEvaluationBins) }, "32 edges"},
		"negative count":   {func(e *Evaluation) { e.Grid[0], e.Grid[1] = -1, 2 }, "-1 among"},
		"count too large":  {func(e *Evaluation) { e.Grid[0] = math.MaxInt }, "among 4 rows"},
		"counts":           {func(e *Evaluation) { e.ErrorCounts[1] = 2 }, "3 of 4"},
		"groups":           {func(e *Evaluation) { e.Groups = e.Groups[:1] }, "3 of 4"},
		"empty group":      {func(e *Evaluation) { e.Groups[0].Rows = 0 }, "empty"},
		"order of groups":  {func(e *Evaluation) { e.Groups[1].Upper = 0 }, "in order"},
		"errors of group":  {func(e *Evaluation) { e.Groups[0].Low = 7 }, "contradict"},
		"too many groups":  {func(e *Evaluation) { e.Groups = make([]ErrorGroup, 17) }, "17 groups"},
		"quantile order":   {func(e *Evaluation) { e.Absolute[0].P = 1 }, "quantiles"},
		"quantile falls":   {func(e *Evaluation) { e.Absolute[0].Error = 3 }, "quantiles"},
		"quantile at 0":    {func(e *Evaluation) { e.Absolute[0].P = 0 }, "quantiles"},
		"quantile below 0": {func(e *Evaluation) { e.Relative = []ErrorQuantile{{1, -1}} }, "quantiles"},
		"many quantiles":   {func(e *Evaluation) { e.Relative = make([]ErrorQuantile, 17) }, "17 quantiles"},
		"infinite":         {func(e *Evaluation) { e.Groups[0].Bias = math.Inf(1) }, "evaluation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := evaluated(t)
			tc.change(b.Evaluation)
			if _, _, err := b.Encode(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestDecodeRefusesEvaluations(t *testing.T) {
	t.Parallel()
	good := sections(t, encode(t, evaluated(t)))
	at := -1
	for i := range good {
		if good[i].name == partEvaluation {
			at = i
		}
	}
	if at < 0 || good[at].critical {
		t.Fatalf("section %d: want an optional section", at)
	}
	for name, tc := range map[string]struct {
		edit func(*section)
		text string
	}{
		"critical":      {func(s *section) { s.critical = true }, "it is critical"},
		"unknown field": {func(s *section) { s.data = bytes.Replace(s.data, []byte(`{"rows"`), []byte(`{"x":1,"rows"`), 1) }, "x"},
		"null":          {func(s *section) { s.data = []byte("null\n") }, "form"},
		"null list": {func(s *section) {
			s.data = bytes.Replace(s.data, []byte(`"relative":[]`), []byte(`"relative":null`), 1)
		}, "form"},
		"counts":    {func(s *section) { s.data = bytes.Replace(s.data, []byte(`"rows":4`), []byte(`"rows":9`), 1) }, "9 rows"},
		"too large": {func(s *section) { s.data = make([]byte, 64<<10+1) }, "65536"},
	} {
		edited := append([]section{}, good...)
		tc.edit(&edited[at])
		if _, err := Decode(pack(edited)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, want %q", name, err, tc.text)
		}
	}
	if !json.Valid(good[at].data) {
		t.Errorf("%s", good[at].data)
	}
}
