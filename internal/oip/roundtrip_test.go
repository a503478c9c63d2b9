package oip

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"millrace.dev/internal/oip/inference"
	"pgregory.net/rapid"
)

func itoa(i int) string { return strconv.Itoa(i) }

// header returns the header of a body whose JSON has this length.
func header(jsonLength int) string {
	if jsonLength == 0 {
		return ""
	}
	return itoa(jsonLength)
}

func names() *rapid.Generator[string] { return rapid.StringN(1, 8, 24) }

// tensors draws tensors whose elements have a form in JSON and in gRPC.
func tensors(forms ...bool) *rapid.Generator[Tensor] {
	return rapid.Custom(func(t *rapid.T) Tensor {
		x := Tensor{
			Name: names().Draw(t, "name"), Datatype: rapid.SampledFrom(Datatypes()).Draw(t, "datatype"),
			Shape: rapid.SliceOfN(rapid.Int64Range(0, 3), 0, 3).Draw(t, "shape"), Binary: rapid.SampledFrom(forms).Draw(t, "binary"), Parameters: parameters().Draw(t, "parameters"),
		}
		n, err := Elements(x.Shape)
		if err != nil {
			t.Fatal(err)
		}
		bits := 8 * x.Datatype.Size()
		for range n {
			switch x.Datatype.kind() {
			case bools:
				x.Bools = append(x.Bools, rapid.Bool().Draw(t, "element"))
			case uints:
				x.Uints = append(x.Uints, rapid.Uint64().Draw(t, "element")>>(64-bits))
			case ints:
				x.Ints = append(x.Ints, rapid.Int64().Draw(t, "element")>>(64-bits))
			case texts:
				x.Texts = append(x.Texts, []byte(rapid.String().Draw(t, "element")))
			default:
				x.Floats = append(x.Floats, number(t, x.Datatype))
			}
		}
		return x
	})
}

// number draws a number that the datatype has: finite, or NaN.
func number(t *rapid.T, d Datatype) float64 {
	v := rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN()), rapid.Float64Range(-1e6, 1e6), rapid.Map(rapid.Uint64(), math.Float64frombits)).Draw(t, "element")
	if d != FP64 {
		v = narrow(v, d)
	}
	if math.IsInf(v, 0) {
		return 0
	}
	return v
}

func parameters() *rapid.Generator[Parameters] {
	return rapid.Custom(func(t *rapid.T) Parameters {
		return rapid.MapOfN(rapid.StringMatching(`[a-z]{1,6}`), rapid.OneOf(
			rapid.Map(rapid.Bool(), func(v bool) any { return v }),
			rapid.Map(rapid.Int64(), func(v int64) any { return v }),
			rapid.Map(rapid.String(), func(v string) any { return v }),
			rapid.Map(rapid.Float64Range(0.1, 0.2), func(v float64) any { return v }),
		), 0, 2).Draw(t, "parameters")
	})
}

// TestRoundTrip wants that what is written is read as it was.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := &InferRequest{ID: rapid.String().Draw(t, "id"), Parameters: parameters().Draw(t, "parameters"), Inputs: rapid.SliceOfN(tensors(true, false), 0, 4).Draw(t, "inputs"), BinaryOutput: rapid.Bool().Draw(t, "binary output")}
		for range rapid.IntRange(0, 2).Draw(t, "outputs") {
			r.Outputs = append(r.Outputs, RequestedOutput{Name: names().Draw(t, "name"), Binary: rapid.Bool().Draw(t, "binary"), Parameters: parameters().Draw(t, "parameters")})
		}
		before := []byte("before")
		body, length, err := EncodeRequest(before, r)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := bytes.CutPrefix(body, before)
		if !ok {
			t.Fatal("what was there before is gone")
		}
		if part := body[:max(length, len(body)*btoi(length == 0))]; !json.Valid(part) {
			t.Fatalf("no JSON: %s", part)
		}
		got, err := DecodeRequest(body, header(length), Limits{})
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if diff := cmp.Diff(r, got, same()); diff != "" {
			t.Fatal(diff)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		r := &InferResponse{Model: names().Draw(t, "model"), Version: "3", Outputs: rapid.SliceOfN(tensors(true, false), 0, 4).Draw(t, "outputs")}
		body, length, err := EncodeResponse(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeResponse(body, header(length), Limits{})
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if diff := cmp.Diff(r, got, same()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestRoundTripMessages is TestRoundTrip for gRPC.
func TestRoundTripMessages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.Bool().Draw(t, "raw")
		r := &InferRequest{Model: "m", Version: "2", ID: rapid.String().Draw(t, "id"), Parameters: parameters().Draw(t, "parameters"), Inputs: rapid.SliceOfN(tensors(raw), 1, 4).Draw(t, "inputs"), BinaryOutput: raw}
		if !raw {
			r.Inputs = slices.DeleteFunc(r.Inputs, func(x Tensor) bool { return x.Datatype == FP16 })
		}
		m, err := RequestMessage(r)
		if err != nil {
			t.Fatal(err)
		}
		bytes, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var sent inference.ModelInferRequest
		if err := proto.Unmarshal(bytes, &sent); err != nil {
			t.Fatal(err)
		}
		got, err := RequestOf(&sent, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, got, same()); diff != "" {
			t.Fatal(diff)
		}
		answer := &InferResponse{Model: "m", Version: "2", ID: r.ID, Parameters: r.Parameters, Outputs: r.Inputs}
		out, err := ResponseMessage(answer)
		if err != nil {
			t.Fatal(err)
		}
		if (len(out.GetRawOutputContents()) > 0) != (raw && len(r.Inputs) > 0) {
			t.Fatalf("%d raw contents", len(out.GetRawOutputContents()))
		}
		back, err := ResponseOf(out, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(answer, back, same()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestMessagesRefused(t *testing.T) {
	t.Parallel()
	input := func(datatype string, shape []int64, c *inference.InferTensorContents, raw ...[]byte) *inference.ModelInferRequest {
		return &inference.ModelInferRequest{Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: datatype, Shape: shape, Contents: c}}, RawInputContents: raw}
	}
	for name, c := range map[string]struct {
		m    *inference.ModelInferRequest
		want string
	}{
		"raw contents of more tensors": {input("INT8", []int64{1}, nil, []byte{1}, []byte{2}), "has 1 tensors, and raw contents of 2"},
		"both":                         {input("INT8", []int64{1}, &inference.InferTensorContents{IntContents: []int32{1}}, []byte{1}), "both contents and raw contents"},
		"of another datatype":          {input("FP64", []int64{1}, &inference.InferTensorContents{Fp32Contents: []float32{1}}), "contents of another datatype than FP64"},
		"of two datatypes":             {input("FP64", []int64{1}, &inference.InferTensorContents{Fp64Contents: []float64{1}, Fp32Contents: []float32{1}}), "contents of another datatype"},
		"too few":                      {input("FP64", []int64{2}, &inference.InferTensorContents{Fp64Contents: []float64{1}}), "2 elements, and the contents 1"},
		"too few, widened":             {input("FP32", []int64{2}, &inference.InferTensorContents{Fp32Contents: []float32{1}}), "2 elements, and the contents 1"},
		"none":                         {input("FP64", []int64{2}, nil), "2 elements, and the contents 0"},
		"out of range":                 {input("INT8", []int64{1}, &inference.InferTensorContents{IntContents: []int32{128}}), "does not fit in INT8"},
		"out of range, unsigned":       {input("UINT16", []int64{1}, &inference.InferTensorContents{UintContents: []uint32{65536}}), "does not fit in UINT16"},
		"FP16":                         {input("FP16", []int64{1}, &inference.InferTensorContents{Fp32Contents: []float32{1}}), "FP16 has no contents but raw ones"},
		"a negative dimension":         {input("FP64", []int64{-1}, nil, nil), "dimension 0 of the shape is negative"},
		"a huge shape":                 {input("FP64", []int64{1 << 40}, nil, nil), "more than may be sent at a time"},
		"an overflow":                  {input("FP64", []int64{1 << 40, 1 << 40}, nil, nil), "more elements than can be counted"},
		"too many dimensions":          {input("FP64", make([]int64, 9), nil, nil), "more than 8 dimensions"},
		"an unknown datatype":          {input("BF16", []int64{1}, nil, nil), "is not supported"},
		"no name":                      {&inference.ModelInferRequest{Inputs: []*inference.ModelInferRequest_InferInputTensor{nil}}, "tensor 0 has no name"},
		"too many":                     {&inference.ModelInferRequest{Inputs: make([]*inference.ModelInferRequest_InferInputTensor, 8193)}, "more than 8192 tensors"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r, err := RequestOf(c.m, Limits{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want an error with %q", r, err, c.want)
			}
		})
	}
}

func TestEncodeRefused(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]Tensor{
		"fewer elements":     {Name: "x", Datatype: FP64, Shape: []int64{2}, Floats: []float64{1}},
		"of other slices":    {Name: "x", Datatype: FP64, Shape: []int64{1}, Ints: []int64{1}},
		"no datatype":        {Name: "x", Shape: []int64{1}},
		"an infinity":        {Name: "x", Datatype: FP64, Shape: []int64{1}, Floats: []float64{math.Inf(1)}},
		"an infinite float":  {Name: "x", Datatype: FP32, Shape: []int64{1}, Floats: []float64{1e300}},
		"not UTF-8":          {Name: "x", Datatype: Bytes, Shape: []int64{1}, Texts: [][]byte{{0xff}}},
		"out of range":       {Name: "x", Datatype: Int8, Shape: []int64{1}, Ints: []int64{200}},
		"unsigned":           {Name: "x", Datatype: Uint32, Shape: []int64{1}, Uints: []uint64{1 << 32}},
		"of its binary form": {Name: "x", Datatype: Uint32, Shape: []int64{1}, Uints: []uint64{1 << 32}, Binary: true},
		"a name":             {Name: "\xff", Datatype: FP64, Shape: []int64{0}},
		"a parameter":        {Name: "x", Datatype: FP64, Shape: []int64{0}, Parameters: Parameters{"p": 1}},
	} {
		if body, _, err := EncodeRequest(nil, &InferRequest{Inputs: []Tensor{x}}); err == nil {
			t.Errorf("%s: %s", name, body)
		}
	}
}

// TestEncodeResponse pins the bytes of an answer.
func TestEncodeResponse(t *testing.T) {
	t.Parallel()
	r := &InferResponse{Model: "m", Version: "3", ID: "a\"\x01", Parameters: Parameters{"digest": "d", "b": true}, Outputs: []Tensor{
		{Name: "y", Datatype: FP64, Shape: []int64{3}, Floats: []float64{0.1, 1e21, math.NaN()}},
		{Name: "z", Datatype: FP32, Shape: []int64{2, 1}, Floats: []float64{float64(float32(0.1)), 16777216}},
		{Name: "w", Datatype: Uint16, Shape: []int64{1}, Uints: []uint64{258}, Binary: true},
	}}
	body, length, err := EncodeResponse(nil, r)
	want := `{"model_name":"m","model_version":"3","id":"a\"\u0001","parameters":{"b":true,"digest":"d"},"outputs":[` +
		`{"name":"y","datatype":"FP64","shape":[3],"data":[0.1,1e+21,null]},{"name":"z","datatype":"FP32","shape":[2,1],"data":[0.1,1.6777216e+07]},` +
		`{"name":"w","datatype":"UINT16","shape":[1],"parameters":{"binary_data_size":2}}]}`
	if err != nil || string(body) != want+"\x02\x01" || length != len(want) {
		t.Errorf("%v\n%q %d\n%q", err, body, length, want)
	}
}
