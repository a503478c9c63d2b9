package oip

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// same compares messages: NaN is NaN, and no elements are no elements.
func same() cmp.Options { return cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateEmpty()} }

func TestDecodeRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		json, binary string
		want         *InferRequest
	}{
		"every datatype": {
			json: `{"id":"7","inputs":[
				{"name":"a","datatype":"BOOL","shape":[2],"data":[true,false]},
				{"name":"b","datatype":"UINT8","shape":[2],"data":[0,255]},
				{"name":"c","datatype":"UINT64","shape":[1],"data":[18446744073709551615]},
				{"name":"d","datatype":"INT8","shape":[2],"data":[-128,127]},
				{"name":"e","datatype":"INT64","shape":[1],"data":[-9223372036854775808]},
				{"name":"f","datatype":"FP16","shape":[2],"data":[65504,0.1]},
				{"name":"g","datatype":"FP32","shape":[1],"data":[0.1]},
				{"name":"h","datatype":"FP64","shape":[4],"data":[0.1,-1e-3,null,12]},
				{"name":"i","datatype":"BYTES","shape":[3],"data":["a\"\u00e9\ud83d\ude00\/","",null]}]}`,
			want: &InferRequest{ID: "7", Inputs: []Tensor{
				{Name: "a", Datatype: Bool, Shape: []int64{2}, Bools: []bool{true, false}},
				{Name: "b", Datatype: Uint8, Shape: []int64{2}, Uints: []uint64{0, 255}},
				{Name: "c", Datatype: Uint64, Shape: []int64{1}, Uints: []uint64{math.MaxUint64}},
				{Name: "d", Datatype: Int8, Shape: []int64{2}, Ints: []int64{-128, 127}},
				{Name: "e", Datatype: Int64, Shape: []int64{1}, Ints: []int64{math.MinInt64}},
				{Name: "f", Datatype: FP16, Shape: []int64{2}, Floats: []float64{65504, 0.0999755859375}},
				{Name: "g", Datatype: FP32, Shape: []int64{1}, Floats: []float64{float64(float32(0.1))}},
				{Name: "h", Datatype: FP64, Shape: []int64{4}, Floats: []float64{0.1, -1e-3, math.NaN(), 12}},
				{Name: "i", Datatype: Bytes, Shape: []int64{3}, Texts: [][]byte{[]byte(`a"é😀/`), {}, nil}},
			}},
		},
		"nested, in any order of members": {
			json: `{"inputs":[{"data":[[1,2,3],[4,5,6]],"shape":[2,3],"name":"x","datatype":"INT32"},{"data":[[[1],[2]]],"datatype":"FP64","shape":[1,2,1],"name":"y"}]}`,
			want: &InferRequest{Inputs: []Tensor{
				{Name: "x", Datatype: Int32, Shape: []int64{2, 3}, Ints: []int64{1, 2, 3, 4, 5, 6}},
				{Name: "y", Datatype: FP64, Shape: []int64{1, 2, 1}, Floats: []float64{1, 2}},
			}},
		},
		"flat, of two dimensions": {
			json: `{"inputs":[{"name":"x","datatype":"UINT16","shape":[2,2],"data":[1,2,3,4]}]}`,
			want: &InferRequest{Inputs: []Tensor{{Name: "x", Datatype: Uint16, Shape: []int64{2, 2}, Uints: []uint64{1, 2, 3, 4}}}},
		},
		"without elements": {
			json: `{"inputs":[{"name":"x","datatype":"FP64","shape":[0],"data":[]},{"name":"y","datatype":"FP64","shape":[2,0],"data":[[],[]]},{"name":"z","datatype":"FP64","shape":[0,3],"data":null,"parameters":{"binary_data_size":0}}]}`,
			want: &InferRequest{Inputs: []Tensor{
				{Name: "x", Datatype: FP64, Shape: []int64{0}},
				{Name: "y", Datatype: FP64, Shape: []int64{2, 0}},
				{Name: "z", Datatype: FP64, Shape: []int64{0, 3}, Binary: true},
			}},
		},
		"what is not known, and null": {
			json: `{"model_name":"m","id":null,"parameters":null,"outputs":null,"x":{"y":[1,{"z":null}],"w":"\u0041"},"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[1],"more":[[]]}]}`,
			want: &InferRequest{Inputs: []Tensor{{Name: "x", Datatype: FP64, Shape: []int64{1}, Floats: []float64{1}}}},
		},
		"no dimensions": {
			json: `{"inputs":[{"name":"x","datatype":"FP64","shape":[],"data":[1]}]}`,
			want: &InferRequest{Inputs: []Tensor{{Name: "x", Datatype: FP64, Floats: []float64{1}}}},
		},
		"parameters": {
			json: `{"parameters":{"a":true,"b":-1,"c":18446744073709551615,"d":1.5,"e":"f","g":null,"h":{"i":1},"j":[1],"k":1e2},"inputs":[{"name":"x","datatype":"FP64","shape":[1],"parameters":{"content_type":"np"},"data":[1]}],
				"outputs":[{"name":"y","parameters":{"classification":3}}]}`,
			want: &InferRequest{
				Parameters: Parameters{"a": true, "b": int64(-1), "c": uint64(math.MaxUint64), "d": 1.5, "e": "f", "k": 100.0},
				Inputs:     []Tensor{{Name: "x", Datatype: FP64, Shape: []int64{1}, Floats: []float64{1}, Parameters: Parameters{"content_type": "np"}}},
				Outputs:    []RequestedOutput{{Name: "y", Parameters: Parameters{"classification": int64(3)}}},
			},
		},
		"binary outputs": {
			json: `{"outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":false}},{"name":"c","parameters":{"binary_data":true}}],"parameters":{"binary_data_output":true},"inputs":[]}`,
			want: &InferRequest{BinaryOutput: true, Outputs: []RequestedOutput{{Name: "a", Binary: true}, {Name: "b"}, {Name: "c", Binary: true}}},
		},
		"binary, beside JSON": {
			json: `{"inputs":[{"name":"a","datatype":"UINT16","shape":[2],"parameters":{"binary_data_size":4}},{"name":"b","datatype":"INT8","shape":[1],"data":[3]},
				{"name":"c","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":11}},{"name":"d","datatype":"FP16","shape":[1],"parameters":{"binary_data_size":2}}]}`,
			binary: "\x01\x00\x02\x01" + "\x03\x00\x00\x00a\xffb\x00\x00\x00\x00" + "\x00\x3c",
			want: &InferRequest{Inputs: []Tensor{
				{Name: "a", Datatype: Uint16, Shape: []int64{2}, Uints: []uint64{1, 258}, Binary: true},
				{Name: "b", Datatype: Int8, Shape: []int64{1}, Ints: []int64{3}},
				{Name: "c", Datatype: Bytes, Shape: []int64{2}, Texts: [][]byte{[]byte("a\xffb"), {}}, Binary: true},
				{Name: "d", Datatype: FP16, Shape: []int64{1}, Floats: []float64{1}, Binary: true},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := ""
			if c.binary != "" {
				header = itoa(len(c.json))
			}
			got, err := DecodeRequest([]byte(c.json+c.binary), header, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, same()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeRequestWithoutJSON(t *testing.T) {
	t.Parallel()
	r, err := DecodeRequest([]byte("abc"), "0", Limits{})
	if err != nil || string(r.Raw) != "abc" || !r.BinaryOutput {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDecodeRequestRefused(t *testing.T) {
	t.Parallel()
	x := func(datatype, shape, data string) string {
		return `{"inputs":[{"name":"x","datatype":"` + datatype + `","shape":` + shape + `,"data":` + data + `}]}`
	}
	for name, c := range map[string]struct{ body, header, want string }{
		"empty":                         {``, "", "the JSON is wrong at byte 0: it ends, and a request is expected"},
		"no object":                     {`[]`, "", "a request is expected"},
		"cut off":                       {`{"inputs":[{"name":"x"`, "", "it ends"},
		"more behind":                   {`{"inputs":[]} x`, "", "something stands behind its end"},
		"not UTF-8":                     {"{\"id\":\"\xff\"}", "", "not UTF-8"},
		"a comma too many":              {x("FP64", "[1]", "[1,]"), "", "more elements than the shape says"},
		"a comma too many in an object": {`{"inputs":[],}`, "", "the name of a member is expected"},
		"NaN":                           {x("FP64", "[1]", "[NaN]"), "", "NaN and the infinities are not JSON"},
		"-Infinity":                     {x("FP64", "[1]", "[-Infinity]"), "", "NaN and the infinities are not JSON"},
		"a number that is too large":    {x("FP64", "[1]", "[1e999]"), "", `tensor "x": element 0 is too large for FP64`},
		"too large for 32 bits":         {x("FP32", "[1]", "[1e39]"), "", "too large for FP32"},
		"too large for 16 bits":         {x("FP16", "[1]", "[65520]"), "", "too large for FP16"},
		"a leading zero":                {x("FP64", "[1]", "[01]"), "", "begins with a zero"},
		"no digits behind the point":    {x("FP64", "[1]", "[1.]"), "", "a digit is expected"},
		"no integer":                    {x("INT32", "[1]", "[1.0]"), "", "element 0 is no INT32"},
		"too large for an integer":      {x("INT8", "[2]", "[0,128]"), "", "element 1 is no INT8"},
		"too small for an integer":      {x("INT16", "[1]", "[-32769]"), "", "element 0 is no INT16"},
		"negative":                      {x("UINT8", "[1]", "[-1]"), "", "element 0 is no UINT8"},
		"a number for BOOL":             {x("BOOL", "[1]", "[1]"), "", "true or false is expected"},
		"null for INT64":                {x("INT64", "[1]", "[null]"), "", "a number is expected"},
		"a string for FP64":             {x("FP64", "[1]", `["1"]`), "", "a number is expected"},
		"a number for BYTES":            {x("BYTES", "[1]", `[1]`), "", "a string is expected"},
		"half a surrogate pair":         {x("BYTES", "[1]", `["\ud800"]`), "", "half of a surrogate pair"},
		"an unknown escape":             {x("BYTES", "[1]", `["\x"]`), "", "an escape that JSON does not have"},
		"a control character":           {x("BYTES", "[1]", "[\"\x01\"]"), "", "a control character"},
		"too few elements":              {x("FP64", "[3]", "[1,2]       "), "", "the shape has 3 elements, and the data 2"},
		"too many elements":             {x("FP64", "[1]", "[1,2]"), "", "more elements than the shape says"},
		"nested, too few":               {x("FP64", "[2,2]", "[[1,2],[3]]"), "", "a row of the data is shorter"},
		"nested, too many":              {x("FP64", "[2,2]", "[[1,2],[3,4,5]]"), "", "more elements than the shape says"},
		"nested, too many rows":         {x("FP64", "[1,2]", "[[1,2],[3,4]]"), "", "more rows than the shape says"},
		"nested, too few rows":          {x("FP64", "[2,2]", "[[1,2]]     "), "", "fewer rows than the shape says"},
		"nested, where it is flat":      {x("FP64", "[2]", "[[1],[2]]"), "", "a number is expected"},
		"a zero dimension with data":    {x("FP64", "[1,0,1152921504606846976]", "[[[1]]]"), "", "more rows"},
		"a huge shape":                  {x("FP64", "[9223372036854775807]", "[1]"), "", "more than may be sent at a time"},
		"a shape that overflows":        {x("FP64", "[4294967296,4294967296]", "[1]"), "", "more elements than can be counted"},
		"with a zero in it":             {x("FP64", "[0,4294967296,4294967296]", "[]"), "", "more elements than can be counted"},
		"more than the limit":           {x("FP64", "[1001]", "["+strings.Repeat("1,", 1000)+"1]"), "", "more than may be sent at a time"},
		"a shape without the data":      {x("FP64", "[999]", "[1]"), "", "the shape has 999 elements, and the data fewer"},
		"a negative dimension":          {x("FP64", "[-1]", "[1]"), "", "a dimension that is no size"},
		"too many dimensions":           {x("FP64", "[1,1,1,1,1,1,1,1,1]", "[1]"), "", "more than 8 dimensions"},
		"an unknown datatype":           {x("BF16", "[1]", "[1]"), "", `the datatype "BF16" is not supported`},
		"no name":                       {`{"inputs":[{"datatype":"FP64","shape":[1],"data":[1]}]}`, "", "a tensor without a name"},
		"no datatype":                   {`{"inputs":[{"name":"x","shape":[1],"data":[1]}]}`, "", `tensor "x": it has no datatype`},
		"no shape":                      {`{"inputs":[{"name":"x","datatype":"FP64","data":[1]}]}`, "", `tensor "x": it has no shape`},
		"no data":                       {`{"inputs":[{"name":"x","datatype":"FP64","shape":[1]}]}`, "", `tensor "x": it has no data`},
		"shared memory":                 {`{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"parameters":{"shared_memory_region":"r"}}]}`, "", `tensor "x": it has no data`},
		"a member twice":                {`{"inputs":[],"inputs":[]}`, "", `the member "inputs" comes twice`},
		"an output without a name":      {`{"inputs":[],"outputs":[{}]}`, "", "an output without a name"},
		"too many tensors":              {`{"inputs":[` + strings.Repeat(`{"name":"x","datatype":"FP64","shape":[0],"data":[]},`, 5) + `]}`, "", "more than 4 inputs"},
		"nested too deeply":             {`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "", "nested deeper"},
		"a header that is no number":    {`{}`, "x", "is no number"},
		"a negative header":             {`{}`, "-1", "is no number"},
		"a header beyond the body":      {`{}`, "3", "says 3 bytes, and the body has 2"},
		"a header beyond any body":      {`{}`, "9223372036854775808", "is no number"},
		"binary data that is missing":   {`{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"parameters":{"binary_data_size":8}}]}1234567`, "91", "binary_data_size is 8, and 7 bytes are left"},
		"binary data without a header":  {`{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"parameters":{"binary_data_size":8}}]}`, "", "binary_data_size is 8, and 0 bytes are left"},
		"binary data that is too much":  {`{"inputs":[]}12345678`, "13", "8 bytes behind the JSON belong to no tensor"},
		"binary data of another shape":  {`{"inputs":[{"name":"x","datatype":"FP64","shape":[2],"parameters":{"binary_data_size":8}}]}12345678`, "91", "the shape has 2 elements of 8 bytes, and the binary data 8 bytes"},
		"a BOOL that is none":           {`{"inputs":[{"name":"x","datatype":"BOOL","shape":[1],"parameters":{"binary_data_size":1}}]}` + "\x02", "91", "neither 0 nor 1"},
		"a text that is too long":       {`{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":8}}]}` + "\x05\x00\x00\x00abcd", "92", "longer than what is left"},
		"texts that are too few":        {`{"inputs":[{"name":"x","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":8}}]}` + "\x04\x00\x00\x00abcd", "92", "element 1 is missing"},
		"texts that are too many":       {`{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":8}}]}` + "\x00\x00\x00\x00\x00\x00\x00\x00", "92", "4 bytes more than the 1 elements"},
		"a size that is none":           {`{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":-8}}]}`, "", "a number of bytes that is none"},
		"data of both kinds":            {`{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1],"parameters":{"binary_data_size":1}}]}` + "\x01", "100", "both data and binary_data_size"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := DecodeRequest([]byte(c.body), c.header, Limits{Elements: 1000, Tensors: 4})
			var e *Error
			if !errors.As(err, &e) || e.Status != 400 || !strings.Contains(e.Message, c.want) {
				t.Errorf("%+v, %v; want an error with %q", r, err, c.want)
			}
		})
	}
}

// TestAllocationBounded wants that what a request promises and does not send asks for no memory.
func TestAllocationBounded(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"inputs":[{"name":"x","datatype":"FP64","shape":[4000000],"data":[1]}]}`,
		`{"inputs":[{"name":"x","datatype":"BYTES","shape":[4000000],"data":[""]}]}`,
		`{"inputs":[{"name":"x","datatype":"BYTES","shape":[4000000],"parameters":{"binary_data_size":4}}]}` + "\x00\x00\x00\x00",
	} {
		header := ""
		if i := strings.IndexByte(body, 0); i >= 0 {
			header = itoa(i)
		}
		result := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeRequest([]byte(body), header, Limits{}); err == nil {
					b.Fatal("it was read")
				}
			}
		})
		if got := result.AllocedBytesPerOp(); got > 16<<10 {
			t.Errorf("%d bytes for %s", got, body)
		}
	}
}

func TestDecodeResponse(t *testing.T) {
	t.Parallel()
	got, err := DecodeResponse([]byte(`{"model_name":"m","model_version":"3","id":"7","parameters":{"digest":"sha256:ab"},"outputs":[{"name":"y","datatype":"FP64","shape":[2,1],"data":[1,2]}]}`), "", Limits{})
	want := &InferResponse{Model: "m", Version: "3", ID: "7", Parameters: Parameters{"digest": "sha256:ab"}, Outputs: []Tensor{{Name: "y", Datatype: FP64, Shape: []int64{2, 1}, Floats: []float64{1, 2}}}}
	if diff := cmp.Diff(want, got, same()); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := DecodeResponse([]byte("abc"), "0", Limits{}); err == nil {
		t.Error("an answer without JSON was read")
	}
}

func TestDecodeError(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"error":"no\nmodel"}`: "no\nmodel",
		`{"error":null}`:        "",
		`{"message":"x"}`:       "",
		`<html>`:                "",
		"\xff":                  "",
		`{"error":"` + strings.Repeat("é", 600) + `"}`:    strings.Repeat("é", 500),
		`{"error":"x` + strings.Repeat("é", 600) + `"}`:   "x" + strings.Repeat("é", 499),
		`{"details":[{"error":"inner"}],"error":"outer"}`: "outer",
	} {
		if got := DecodeError([]byte(body)); got != want {
			t.Errorf("DecodeError(%q) = %q, want %q", body, got, want)
		}
	}
}

// TestHalf looks at all floats of 16 bits, and at what lies between.
func TestHalf(t *testing.T) {
	t.Parallel()
	for h := range 1 << 16 {
		v := fromHalf(uint16(h))
		if math.IsNaN(v) {
			if h&0x7C00 != 0x7C00 || h&0x3FF == 0 || !math.IsNaN(fromHalf(toHalf(v))) {
				t.Errorf("%#x is NaN", h)
			}
			continue
		}
		if got := toHalf(v); int(got) != h {
			t.Errorf("%#x is %v, and back %#x", h, v, got)
		}
		next := fromHalf(uint16(h + 1))
		if h&0x7FFF >= 0x7BFF || h == 0xFFFF {
			continue // the next one is no number
		}
		middle := (v + next) / 2 // exact, and goes to the even one
		if got := toHalf(middle); got&1 != 0 || got != uint16(h) && got != uint16(h+1) {
			t.Errorf("%v between %#x and the next is %#x", middle, h, got)
		}
		if got := toHalf(math.Nextafter(middle, v)); got != uint16(h) {
			t.Errorf("%v, a little nearer to %#x, is %#x", middle, h, got)
		}
	}
	for v, want := range map[float64]float64{65519: 65504, 65520: math.Inf(1), -1e300: math.Inf(-1), 1e-9: 0} {
		if got := fromHalf(toHalf(v)); got != want {
			t.Errorf("%v is %v, want %v", v, got, want)
		}
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shape []int64
		want  int
		ok    bool
	}{
		{nil, 1, true},
		{[]int64{3, 4}, 12, true},
		{[]int64{3, 0}, 0, true},
		{[]int64{math.MaxInt64, 1}, math.MaxInt64, true},
		{[]int64{math.MaxInt64, 2}, 0, false},
		{[]int64{0, math.MaxInt64, 2}, 0, false},
		{[]int64{2, -1}, 0, false},
	} {
		if got, err := Elements(c.shape); got != c.want || (err == nil) != c.ok {
			t.Errorf("Elements(%v) = %d, %v", c.shape, got, err)
		}
	}
}

func TestSetBinary(t *testing.T) {
	t.Parallel()
	x := Tensor{Name: "x", Datatype: FP64, Shape: []int64{2}}
	raw := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, math.Float64bits(1.5)), math.Float64bits(-2))
	if err := x.SetBinary(raw); err != nil || !cmp.Equal(x.Floats, []float64{1.5, -2}) {
		t.Errorf("%+v: %v", x, err)
	}
	if err := x.SetBinary(raw[1:]); err == nil {
		t.Error("a byte is missing")
	}
}
