package batch

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/model"
)

func rents(t testing.TB) *model.Bundle {
	t.Helper()
	b, err := TrainModel(t.Context(), flats(t, flatRows(300)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPredict(t *testing.T) {
	t.Parallel()
	b := rents(t)
	for name, c := range map[string]struct {
		file, text, out, rejects string
		want                     Prediction
	}{
		"json": {
			file: "flats.jsonl",
			text: `{"size":50,"city":"Ulm"}` + "\n\n" + `{"size":"x"}` + "\r\n" + `{"size":50,"city":"Rome"}` + "\n" + `{"city":"Ulm"}`,
			out:  `{"size":50,"city":"Ulm","prediction":P}` + "\n" + `{"size":50,"city":"Rome","prediction":P}` + "\n",
			rejects: `{"record":1,"stage":"decode","class":"wrong_type","field":"size","reason":"byte 8: a numeric field cannot be a string"}` + "\n" +
				`{"record":3,"stage":"decode","class":"missing_field","field":"size","reason":"the required field is absent"}` + "\n",
			want: Prediction{Records: 4, Predictions: 2, Rejected: 2, Classes: map[string]int{"wrong_type": 1, "missing_field": 1}, Missing: map[string]int{}, Unseen: map[string]int{"city": 1}},
		},
		"csv": {
			file:    "flats.csv",
			text:    "city,note,size\nUlm,\"a, \"\"b\"\"\nc\",50\r\n,,\n,x,70\n",
			out:     "city,note,size,prediction\nUlm,\"a, \"\"b\"\"\nc\",50,P\n,x,70,P\n",
			rejects: `{"record":1,"stage":"decode","class":"missing_field","field":"size","reason":"byte 2: the required field is empty or missing"}` + "\n",
			want:    Prediction{Records: 3, Predictions: 2, Rejected: 1, Classes: map[string]int{"missing_field": 1}, Missing: map[string]int{"city": 1}, Unseen: map[string]int{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, rejects bytes.Buffer
			got, err := Predict(t.Context(), b, PredictOptions{Data: write(t, c.file, c.text), Out: &out, Rejects: &rejects})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.out, number.ReplaceAllString(out.String(), "${1}P${2}")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.rejects, rejects.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPredictFails(t *testing.T) {
	t.Parallel()
	b := rents(t)
	csv := "size,prediction\n1,2\n"
	if _, err := Predict(t.Context(), b, PredictOptions{Data: write(t, "a.csv", csv), Out: &bytes.Buffer{}}); err == nil || !strings.Contains(err.Error(), "already has the column") {
		t.Errorf("a column of the prediction's name: %v", err)
	}
	if _, err := Predict(t.Context(), b, PredictOptions{Data: write(t, "a.csv", csv), Out: &bytes.Buffer{}, Field: "rent"}); err != nil {
		t.Errorf("another column for the prediction: %v", err)
	}
	if _, err := Predict(t.Context(), b, PredictOptions{Data: write(t, "a.jsonl", `{"size":1}`), Out: fullDisk{}}); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
}

// number finds a prediction: the last value of an object or of a row.
var number = regexp.MustCompile(`((?:"prediction":|,))\d+\.\d+(}?\n)`)

var errFull = errors.New("no space left on device")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }
