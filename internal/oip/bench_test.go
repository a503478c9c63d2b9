package oip

import (
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
	"millrace.dev/internal/oip/inference"
)

// houses returns a request with the fields of sales of houses: 18 numbers and two texts a row.
func houses(rows int, binary bool) *InferRequest {
	r := &InferRequest{ID: "42", BinaryOutput: binary}
	for i := range 20 {
		t := Tensor{Name: fmt.Sprintf("field_%02d", i), Datatype: FP64, Shape: []int64{int64(rows), 1}, Binary: binary}
		if i >= 18 {
			t.Datatype = Bytes
		}
		for row := range rows {
			if i >= 18 {
				t.Texts = append(t.Texts, []byte("98103"))
			} else {
				t.Floats = append(t.Floats, math.Floor(float64(i*row*1000)/7)/100)
			}
		}
		r.Inputs = append(r.Inputs, t)
	}
	return r
}

func BenchmarkDecodeRequest(b *testing.B) {
	for _, rows := range []int{1, 32, 1024} {
		for name, binary := range map[string]bool{"json": false, "binary": true} {
			body, length, err := EncodeRequest(nil, houses(rows, binary))
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/rows=%d", name, rows), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := DecodeRequest(body, header(length), Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkRequestOf(b *testing.B) {
	for _, rows := range []int{1, 32} {
		m, err := RequestMessage(houses(rows, true))
		if err != nil {
			b.Fatal(err)
		}
		body, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var m inference.ModelInferRequest
				if err := proto.Unmarshal(body, &m); err != nil {
					b.Fatal(err)
				}
				if _, err := RequestOf(&m, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeResponse(b *testing.B) {
	r := &InferResponse{Model: "house-prices", Version: "3", ID: "42", Parameters: Parameters{"digest": "sha256:0123"}, Outputs: []Tensor{{Name: "predicted_price", Datatype: FP64, Shape: []int64{1}, Floats: []float64{512345.678}}}}
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		body, _, err := EncodeResponse(dst[:0], r)
		if err != nil {
			b.Fatal(err)
		}
		dst = body
	}
}
