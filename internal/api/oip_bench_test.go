package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"millrace.dev/internal/oip"
	"millrace.dev/internal/server"
)

// BenchmarkInfer answers requests without a network, through the server's limits and the queue of the workers.
func BenchmarkInfer(b *testing.B) {
	w := theWorld(b)
	s := newSite(b, w, server.Options{})
	for _, rows := range []int{1, 32} {
		for name, inputs := range map[string][]oip.Tensor{"records": wholeRecords(w.records[:rows]), "fields": fieldTensors(b, w.records[:rows])} {
			for _, binary := range []bool{false, true} {
				for i := range inputs {
					inputs[i].Binary = binary
				}
				body, length, err := oip.EncodeRequest(nil, &oip.InferRequest{Inputs: inputs, BinaryOutput: binary})
				if err != nil {
					b.Fatal(err)
				}
				b.Run(name+"/binary="+strconv.FormatBool(binary)+"/rows="+strconv.Itoa(rows), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, inferPath, bytes.NewReader(body))
						if length > 0 {
							r.Header.Set(oip.HeaderLength, strconv.Itoa(length))
						}
						a := httptest.NewRecorder()
						if s.server.ServeHTTP(a, r); a.Code != http.StatusOK {
							b.Fatalf("%d: %s", a.Code, a.Body)
						}
					}
				})
			}
		}
	}
}
