package oip

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"millrace.dev/internal/oip/inference"
)

// small are limits that a fuzzer reaches.
func small() Limits { return Limits{Elements: 4096, Tensors: 64} }

func seeds(f *testing.F) {
	f.Helper()
	for _, s := range []struct{ body, header string }{
		{`{"id":"7","inputs":[{"name":"a","datatype":"BOOL","shape":[2],"data":[true,false]},{"name":"i","datatype":"BYTES","shape":[2],"data":["\u00e9",null]}]}`, ""},
		{`{"inputs":[{"data":[[1,2],[3,4]],"shape":[2,2],"name":"x","datatype":"INT32"}],"outputs":[{"name":"y","parameters":{"binary_data":true}}],"parameters":{"binary_data_output":true}}`, ""},
		{`{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"parameters":{"binary_data_size":8}}]}12345678`, "83"},
		{`{"inputs":[{"name":"c","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}}]}` + "\x01\x00\x00\x00a", "84"},
		{`{"model_name":"m","model_version":"1","parameters":{"x":1.5},"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1e3,null]}]}`, ""},
		{`{"outputs":[{"name":"y","datatype":"FP16","shape":[1,0,3],"data":[[]]}]}`, ""},
		{"raw", "0"},
		{`{"error":"no \ud83d\ude00"}`, ""},
	} {
		f.Add([]byte(s.body), s.header)
	}
}

// FuzzDecodeRequest wants of what is read that it is JSON, that it is within the limits, and that it is read again as
// it was when it is written.
func FuzzDecodeRequest(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte, head string) {
		r, err := DecodeRequest(body, head, small())
		if err != nil {
			wantRefused(t, err)
			return
		}
		if r.Raw != nil {
			return
		}
		wantJSON(t, body, head, r.Inputs)
		again, length, err := EncodeRequest(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeRequest(again, header(length), Limits{})
		if err != nil {
			t.Fatalf("%v: %q", err, again)
		}
		if diff := cmp.Diff(r, back, same()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDecodeResponse is FuzzDecodeRequest for answers.
func FuzzDecodeResponse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte, head string) {
		DecodeError(body)
		r, err := DecodeResponse(body, head, small())
		if err != nil {
			wantRefused(t, err)
			return
		}
		wantJSON(t, body, head, r.Outputs)
		again, length, err := EncodeResponse(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeResponse(again, header(length), Limits{})
		if err != nil {
			t.Fatalf("%v: %q", err, again)
		}
		if diff := cmp.Diff(r, back, same()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzMessage reads any bytes as a message of gRPC, and that as a request, which has to survive the way back.
func FuzzMessage(f *testing.F) {
	for _, r := range []*InferRequest{
		{Model: "m", ID: "1", Inputs: []Tensor{{Name: "x", Datatype: FP64, Shape: []int64{2}, Floats: []float64{1, 2}}}, Outputs: []RequestedOutput{{Name: "y"}}},
		{Model: "m", BinaryOutput: true, Parameters: Parameters{"a": int64(1)}, Inputs: []Tensor{{Name: "x", Datatype: Int8, Shape: []int64{1, 1}, Ints: []int64{-1}}, {Name: "z", Datatype: Bytes, Shape: []int64{1}, Texts: [][]byte{[]byte("a")}}}},
	} {
		m, err := RequestMessage(r)
		if err != nil {
			f.Fatal(err)
		}
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var answer inference.ModelInferResponse
		if proto.Unmarshal(b, &answer) == nil {
			if _, err := ResponseOf(&answer, small()); err != nil {
				wantRefused(t, err)
			}
		}
		var m inference.ModelInferRequest
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		r, err := RequestOf(&m, small())
		if err != nil {
			wantRefused(t, err)
			return
		}
		wantWithin(t, r.Inputs)
		again, err := RequestMessage(r)
		if err != nil { // a parameter may be NaN in a message, and nowhere else
			return
		}
		back, err := RequestOf(again, small())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back, same()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDecompress wants what comes out to be within the limit, and an error of the protocol else.
func FuzzDecompress(f *testing.F) {
	var c Compressor
	for _, encoding := range []string{Gzip, Deflate} {
		packed, err := c.Compress(nil, encoding, bytes.Repeat([]byte("x"), 100))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoding, packed)
	}
	f.Add("gzip, deflate;q=0.5", []byte{})
	f.Fuzz(func(t *testing.T, encoding string, body []byte) {
		if best := AcceptedEncoding(encoding); best != "" && best != Gzip && best != Deflate {
			t.Fatalf("%q is accepted", best)
		}
		got, err := Decompress(encoding, bytes.NewReader(body), 1000)
		if err != nil {
			wantRefused(t, err)
			return
		}
		if len(got) > 1000 {
			t.Fatalf("%d bytes", len(got))
		}
	})
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Status < 400 || e.Status > 499 {
		t.Fatalf("an error that is not the protocol's: %v", err)
	}
	if len(e.Message) > 1000 {
		t.Fatalf("a message of %d bytes", len(e.Message))
	}
}

func wantJSON(t *testing.T, body []byte, head string, all []Tensor) {
	t.Helper()
	n := len(body)
	if head != "" {
		var err error
		if n, err = strconv.Atoi(head); err != nil {
			t.Fatal(err)
		}
	}
	if !json.Valid(body[:n]) {
		t.Fatalf("read, and no JSON: %q", body[:n])
	}
	wantWithin(t, all)
}

func wantWithin(t *testing.T, all []Tensor) {
	t.Helper()
	if len(all) > small().Tensors {
		t.Fatalf("%d tensors", len(all))
	}
	sum := 0
	for i := range all {
		n, err := Elements(all[i].Shape)
		if err != nil || n != all[i].Len() {
			t.Fatalf("%d elements of the shape, %d that are there: %v", n, all[i].Len(), err)
		}
		sum += n
	}
	if sum > small().Elements {
		t.Fatalf("%d elements", sum)
	}
}
