package remote

import (
	"slices"
	"testing"

	"millrace.dev/internal/oip"
)

// The fuzz targets take the answer to three rows. Whatever it is, an answer that is taken has a prediction or a problem for each row.

const fuzzRows = 3

func checkScores(t *testing.T, scores []float64, err error) {
	t.Helper()
	if err == nil && len(scores) != fuzzRows {
		t.Errorf("%d predictions for %d rows, and no error", len(scores), fuzzRows)
	}
}

func FuzzPredictions(f *testing.F) {
	for _, body := range []string{
		good, `[1, 2, 3]`, `{"predictions": [[1], [2], [3]]}`, `{"predictions": [{"y": 1}, {"y": NaN}, {"\u0079": -Infinity}]}`,
		`{"predictions": {"y": [1, null, true], "z": {"\ud83d\ude00": []}}}`, `{"predictions": [1e999, -0, 0.5E-3]}`,
	} {
		f.Add([]byte(body), "")
		f.Add([]byte(body), "y")
	}
	f.Fuzz(func(t *testing.T, body []byte, output string) {
		before := slices.Clone(body)
		scores, err := predictions(body, fuzzRows, output)
		checkScores(t, scores, err)
		if !slices.Equal(before, body) {
			t.Error("the answer was changed")
		}
	})
}

func FuzzPredictionsCSV(f *testing.F) {
	for _, body := range []string{"1\n2\n3\n", "1,2,3", "1\r\nnan\r\n-inf", "1,2\n3", "", "0x1,1_0,1e5"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		scores, err := predictionsCSV(body, fuzzRows)
		checkScores(t, scores, err)
	})
}

func FuzzPredicted(f *testing.F) {
	for _, body := range []string{
		`{"predictions": [{"record": {"y": 1}}, {"problem": {"stage": "decode", "class": "not_json", "field": "", "reason": "x"}}, {"record": {"a": [{}], "y": 3}}], "model": "m@1", "digest": "d"}`,
		`{"digest": "d", "predictions": [{"record": {"y": null}}, {"record": {"y": 1}}, {"record": {"y": 2}}]}`,
		`{"digest": "e", "predictions": []}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := predicted(body, fuzzRows, "y", "d")
		if err != nil {
			return
		}
		checkScores(t, a.Scores, err)
		if a.Problems != nil && len(a.Problems) != fuzzRows {
			t.Errorf("%d problems for %d rows", len(a.Problems), fuzzRows)
		}
		for _, p := range a.Problems {
			if p != nil && (!plain(p.Stage) || !plain(p.Class) || len(p.Reason) > maxWords || len(p.Field) > maxWords) {
				t.Errorf("got %+v", p)
			}
		}
	})
}

func FuzzInferAnswer(f *testing.F) {
	for _, body := range []string{
		`{"model_name": "m", "model_version": "3", "outputs": [{"name": "y", "datatype": "FP64", "shape": [3, 1], "data": [1, null, 3]}]}`,
		`{"outputs": [{"name": "y", "datatype": "INT64", "shape": [3], "data": [1, 2, 9007199254740993]}], "parameters": {"digest": "d"}}`,
		`{"outputs": [{"name": "y", "datatype": "BOOL", "shape": [3], "data": [true, false, true]}, {"name": "z", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}`,
	} {
		f.Add([]byte(body), "", "")
		f.Add([]byte(body), "", "y")
	}
	f.Add(append([]byte(`{"outputs":[{"name":"y","datatype":"FP32","shape":[3],"parameters":{"binary_data_size":12}}]}`), make([]byte, 12)...), "89", "")
	f.Fuzz(func(t *testing.T, body []byte, length, output string) {
		r, err := oip.DecodeResponse(body, length, oip.Limits{})
		if err != nil {
			return
		}
		a, fault := inferAnswer(&Options{Output: output}, r, fuzzRows, "d")
		if fault != nil {
			return
		}
		checkScores(t, a.Scores, nil)
	})
}
