package gbm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"millrace.dev/record"
)

// TestSameForestEverywhere has the digest of a forest and of what it predicts, as computed on amd64. Any other machine must
// give it too. It changes only with the way in which trees are grown.
func TestSameForestEverywhere(t *testing.T) {
	t.Parallel()
	const rows, want = 4000, "20ad50d518a9d93701ee76a16e4a780a0e668b1553037197302981046dfd005d"
	r := rand.New(rand.NewPCG(1, 2))
	frame := &record.Frame{Rows: rows, Columns: []record.Column{
		{Name: "x", Type: record.Numeric}, {Name: "y", Type: record.Numeric}, {Name: "e", Type: record.Enum, Levels: []string{"a", "b", "c", "d", "e", "f", "g"}},
	}}
	label := make([]float64, rows)
	for i := range label {
		x, y, e := r.Float64()*10, r.NormFloat64(), r.IntN(7)
		frame.Columns[0].Numbers = append(frame.Columns[0].Numbers, x)
		frame.Columns[1].Numbers = append(frame.Columns[1].Numbers, y)
		frame.Columns[2].Codes = append(frame.Columns[2].Codes, int32(e))
		label[i] = float64(x*x) + math.Abs(float64(float64(e*e)*y)) + 1 + r.Float64() // the label is logarithmized
	}
	p := DefaultParams()
	p.NTrees, p.SampleRate, p.ColSampleRate, p.LabelTransform = 30, 0.8, 0.9, TransformLog
	f, _, err := Train(t.Context(), p, Dataset{Frame: frame, Label: label}, nil, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	h.Write(b)
	scores := make([]float64, rows)
	f.Score(frame, scores)
	for _, s := range scores {
		h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(s)))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
