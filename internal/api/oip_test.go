package api_test

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/server"
	"millrace.dev/record"
)

const inferPath = "/v2/models/house-prices/infer"

// predicted returns what POST /predict says of the records.
func (s *site) predicted(records [][]byte) []float64 {
	s.t.Helper()
	all := make([]float64, len(records))
	for i, r := range records {
		a := s.send(http.MethodPost, "/predict", string(r))
		var out struct {
			Price float64 `json:"predicted_price"`
		}
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
			s.t.Fatalf("%d: %s", a.status, a.body)
		}
		all[i] = out.Price
	}
	return all
}

// infer sends a request, and returns the answer to it.
func (s *site) infer(r *oip.InferRequest) *oip.InferResponse {
	s.t.Helper()
	body, length, err := oip.EncodeRequest(nil, r)
	if err != nil {
		s.t.Fatal(err)
	}
	var headers []string
	if length > 0 {
		headers = []string{oip.HeaderLength, strconv.Itoa(length)}
	}
	a := s.send(http.MethodPost, inferPath, string(body), headers...)
	if a.status != http.StatusOK {
		s.t.Fatalf("%d: %s", a.status, a.body)
	}
	response, err := oip.DecodeResponse([]byte(a.body), a.header.Get(oip.HeaderLength), oip.Limits{})
	if err != nil {
		s.t.Fatal(err)
	}
	return response
}

// wholeRecords is a tensor with records.
func wholeRecords(records [][]byte) []oip.Tensor {
	return []oip.Tensor{{Name: "record", Datatype: oip.Bytes, Shape: []int64{int64(len(records))}, Texts: records}}
}

// fieldTensors are tensors with the fields of records.
func fieldTensors(t testing.TB, records [][]byte) []oip.Tensor {
	t.Helper()
	numbers := strings.Fields("bedrooms bathrooms sqft_living floors sqft_lot yr_built")
	texts := strings.Fields("date condition city street")
	all := make([]oip.Tensor, 0, len(numbers)+len(texts))
	rows := make([]map[string]any, len(records))
	for i, r := range records {
		if err := json.Unmarshal(r, &rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range numbers {
		x := oip.Tensor{Name: name, Datatype: oip.FP64, Shape: []int64{int64(len(rows))}}
		for _, row := range rows {
			v, ok := row[name].(float64)
			if !ok {
				v = math.NaN()
			}
			x.Floats = append(x.Floats, v)
		}
		all = append(all, x)
	}
	for _, name := range texts {
		x := oip.Tensor{Name: name, Datatype: oip.Bytes, Shape: []int64{int64(len(rows)), 1}}
		for _, row := range rows {
			switch v := row[name].(type) {
			case string:
				x.Texts = append(x.Texts, []byte(v))
			case float64:
				x.Texts = append(x.Texts, strconv.AppendFloat(nil, v, 'f', -1, 64))
			default:
				x.Texts = append(x.Texts, nil)
			}
		}
		all = append(all, x)
	}
	return all
}

// inputTensors are tensors with the inputs of the model, as the data path computes them of records.
func inputTensors(t testing.TB, w *world) []oip.Tensor {
	t.Helper()
	worker, err := w.houses.NewWorker()
	if err != nil {
		t.Fatal(err)
	}
	b := worker.NewBatch()
	for _, r := range w.records {
		b.Append(record.Raw{Value: r})
	}
	worker.Process(b)
	var all []oip.Tensor
	for _, c := range worker.Frame().Columns {
		x := oip.Tensor{Name: c.Name, Datatype: oip.FP64, Shape: []int64{int64(b.Len())}, Binary: true}
		if c.Type == record.Enum {
			x.Datatype = oip.Bytes
			for _, code := range c.Codes[:b.Len()] {
				level := []byte("")
				if code >= 0 && int(code) < len(c.Levels) {
					level = []byte(c.Levels[code])
				}
				x.Texts = append(x.Texts, level)
			}
		} else {
			x.Floats = append(x.Floats, c.Numbers[:b.Len()]...)
		}
		all = append(all, x)
	}
	return all
}

// TestInferWays wants the same bits, whichever way rows come: as POST /predict gives.
func TestInferWays(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	want := s.predicted(w.records)
	for name, inputs := range map[string][]oip.Tensor{
		"records": wholeRecords(w.records), "fields": fieldTensors(t, w.records), "inputs": inputTensors(t, w),
	} {
		for _, binary := range []bool{false, true} {
			for i := range inputs {
				inputs[i].Binary = binary
			}
			got := s.infer(&oip.InferRequest{ID: "7", Inputs: inputs, BinaryOutput: binary})
			digest, ok := got.Parameters["digest"].(string)
			if got.ID != "7" || got.Model != "house-prices" || got.Version != "2" || !ok || digest == "" || len(got.Outputs) != 1 {
				t.Fatalf("%s: %+v", name, got)
			}
			out := got.Outputs[0]
			if out.Name != "predicted_price" || out.Datatype != oip.FP64 || out.Binary != binary || !cmp.Equal(out.Shape, []int64{int64(len(want))}) {
				t.Errorf("%s: %+v", name, out)
			}
			if diff := cmp.Diff(want, out.Floats); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	raw := s.send(http.MethodPost, inferPath, string(w.records[0]), oip.HeaderLength, "0")
	got, err := oip.DecodeResponse([]byte(raw.body), raw.header.Get(oip.HeaderLength), oip.Limits{})
	if err != nil || !got.Outputs[0].Binary || got.Outputs[0].Floats[0] != want[0] {
		t.Errorf("a record alone: %+v, %v", got, err)
	}
}

// TestInferFields wants values of fields to mean what they mean in a record.
func TestInferFields(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	number := func(name string, v float64) oip.Tensor {
		return oip.Tensor{Name: name, Datatype: oip.FP64, Shape: []int64{1}, Floats: []float64{v}}
	}
	text := func(name, v string) oip.Tensor {
		return oip.Tensor{Name: name, Datatype: oip.Bytes, Shape: []int64{1}, Texts: [][]byte{[]byte(v)}}
	}
	living := number("sqft_living", 1800)
	for name, c := range map[string]struct {
		inputs []oip.Tensor
		record string
	}{
		"absent":                 {[]oip.Tensor{living}, `{"sqft_living":1800}`},
		"NaN":                    {[]oip.Tensor{living, number("floors", math.NaN())}, `{"sqft_living":1800}`},
		"null":                   {[]oip.Tensor{living, {Name: "city", Datatype: oip.Bytes, Shape: []int64{1}, Texts: [][]byte{nil}}}, `{"sqft_living":1800}`},
		"an empty level":         {[]oip.Tensor{living, text("city", "")}, `{"sqft_living":1800}`},
		"an empty time":          {[]oip.Tensor{living, text("date", "")}, `{"sqft_living":1800}`},
		"a level":                {[]oip.Tensor{living, text("city", "Seattle")}, `{"sqft_living":1800,"city":"Seattle"}`},
		"an unknown level":       {[]oip.Tensor{living, text("city", "Entenhausen \"\\\n\x01ü")}, `{"sqft_living":1800,"city":"Entenhausen"}`},
		"a level that is number": {[]oip.Tensor{living, number("condition", 4)}, `{"sqft_living":1800,"condition":"4"}`},
		"a level of an integer":  {[]oip.Tensor{living, {Name: "condition", Datatype: oip.Uint8, Shape: []int64{1}, Uints: []uint64{4}}}, `{"sqft_living":1800,"condition":4}`},
		"an integer":             {[]oip.Tensor{{Name: "sqft_living", Datatype: oip.Int32, Shape: []int64{1}, Ints: []int64{1800}}}, `{"sqft_living":1800}`},
		"a bool":                 {[]oip.Tensor{living, {Name: "bedrooms", Datatype: oip.Bool, Shape: []int64{1}, Bools: []bool{true}}}, `{"sqft_living":1800,"bedrooms":1}`},
		"a time":                 {[]oip.Tensor{living, text("date", "2014-05-02"), number("yr_built", 1950)}, `{"sqft_living":1800,"date":"2014-05-02","yr_built":1950}`},
		"a large number":         {[]oip.Tensor{number("sqft_living", 1800), number("sqft_lot", 1e300)}, `{"sqft_living":1800,"sqft_lot":1e300}`},
		"the label":              {[]oip.Tensor{living, number("price", 1)}, `{"sqft_living":1800,"price":2}`},
	} {
		want := s.predicted([][]byte{[]byte(c.record)})
		if diff := cmp.Diff(want, s.infer(&oip.InferRequest{Inputs: c.inputs}).Outputs[0].Floats); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestInferInputs wants inputs of the model to be missing where they are, and numbers of any type to be numbers.
func TestInferInputs(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	one := func(name string, v float64) oip.Tensor {
		return oip.Tensor{Name: name, Datatype: oip.FP64, Shape: []int64{1}, Floats: []float64{v}}
	}
	level := func(name, v string) oip.Tensor {
		return oip.Tensor{Name: name, Datatype: oip.Bytes, Shape: []int64{1}, Texts: [][]byte{[]byte(v)}}
	}
	inputs := func(age oip.Tensor, city string) []oip.Tensor {
		return []oip.Tensor{age, one("bedrooms", 3), one("bathrooms", math.NaN()), one("sqft_living", 1800), one("floors", 1), level("condition", "4"), level("city", city)}
	}
	record := func(built, city string) []float64 {
		return s.predicted([][]byte{[]byte(`{"bedrooms":3,"sqft_living":1800,"floors":1,"condition":4,"date":"2014-05-02"` + built + city + `}`)})
	}
	for name, c := range map[string]struct {
		inputs []oip.Tensor
		want   []float64
	}{
		"whole":            {inputs(one("age", 64), "Seattle"), record(`,"yr_built":1950`, `,"city":"Seattle"`)},
		"an integer":       {inputs(oip.Tensor{Name: "age", Datatype: oip.Int8, Shape: []int64{1}, Ints: []int64{64}}, "Seattle"), record(`,"yr_built":1950`, `,"city":"Seattle"`)},
		"unsigned":         {inputs(oip.Tensor{Name: "age", Datatype: oip.Uint64, Shape: []int64{1, 1}, Uints: []uint64{64}}, "Seattle"), record(`,"yr_built":1950`, `,"city":"Seattle"`)},
		"a bool":           {inputs(oip.Tensor{Name: "age", Datatype: oip.Bool, Shape: []int64{1}, Bools: []bool{true}}, "Seattle"), record(`,"yr_built":2013`, `,"city":"Seattle"`)},
		"missing":          {inputs(one("age", math.NaN()), ""), record("", "")},
		"an unknown level": {inputs(one("age", 64), "Entenhausen"), record(`,"yr_built":1950`, "")},
	} {
		if diff := cmp.Diff(c.want, s.infer(&oip.InferRequest{Inputs: c.inputs}).Outputs[0].Floats); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestInferRefused pins what is refused, with which status, and that the text says where the fault is.
func TestInferRefused(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	input := func(name, datatype, shape, data string) string {
		return `{"name":"` + name + `","datatype":"` + datatype + `","shape":` + shape + `,"data":` + data + `}`
	}
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		status     int
		want       string
	}{
		"no JSON":                 {body: "{", status: 400, want: "the JSON is wrong at byte 1"},
		"no inputs":               {body: `{"inputs":[]}`, status: 400, want: "no inputs"},
		"an unknown model":        {path: "/v2/models/nobody/infer", body: "{", status: 404, want: "no such model"},
		"an unknown version":      {path: "/v2/models/house-prices/versions/9/infer", body: "{", status: 404, want: "no such version"},
		"windows":                 {path: "/v2/models/busy-streets/infer", body: `{"inputs":[` + input("record", "BYTES", "[1]", `["{}"]`) + `]}`, status: 501, want: "windows"},
		"a shape":                 {body: `{"inputs":[` + input("floors", "FP64", "[1,2]", "[1,2]") + `]}`, status: 400, want: `input "floors": want the shape [rows] or [rows, 1]`},
		"a scalar":                {body: `{"inputs":[` + input("floors", "FP64", "[]", "[1]") + `]}`, status: 400, want: "want the shape"},
		"rows that differ":        {body: `{"inputs":[` + input("floors", "FP64", "[1]", "[1]") + "," + input("bedrooms", "FP64", "[2]", "[1,2]") + `]}`, status: 400, want: `input "bedrooms" has 2 rows, and "floors" has 1`},
		"a name twice":            {body: `{"inputs":[` + input("floors", "FP64", "[1]", "[1]") + "," + input("floors", "FP64", "[1]", "[1]") + `]}`, status: 400, want: `input "floors" comes twice`},
		"an unknown name":         {body: `{"inputs":[` + input("flors", "FP64", "[1]", "[1]") + `]}`, status: 400, want: `neither a field of the records nor an input of the model: did you mean "floors"?`},
		"text for a number":       {body: `{"inputs":[` + input("floors", "BYTES", "[1]", `["1"]`) + `]}`, status: 400, want: `input "floors" is BYTES, and the field is numeric`},
		"a number for a text":     {body: `{"inputs":[` + input("street", "FP64", "[1]", `[1]`) + `]}`, status: 400, want: `input "street" is FP64, and the field is string`},
		"a field with inputs":     {body: `{"inputs":[` + input("age", "FP64", "[1]", `[1]`) + "," + input("yr_built", "FP64", "[1]", `[1]`) + `]}`, status: 400, want: `input "yr_built" is no input of the model, and "age" is one`},
		"inputs that are missing": {body: `{"inputs":[` + input("age", "FP64", "[1]", `[1]`) + `]}`, status: 400, want: "6 of the 7 inputs of the model are missing: "},
		"a text for an input":     {body: `{"inputs":[` + input("age", "BYTES", "[1]", `["1"]`) + `]}`, status: 400, want: `input "age" is BYTES, and the input of the model is numeric`},
		"an integer too large":    {body: `{"inputs":[` + input("age", "INT64", "[1]", `[9007199254740993]`) + `]}`, status: 400, want: "no 64-bit float equals"},
		"too large, unsigned":     {body: `{"inputs":[` + input("age", "UINT64", "[1]", `[18446744073709551615]`) + `]}`, status: 400, want: "no 64-bit float equals"},
		"the largest integer":     {body: `{"inputs":[` + input("age", "INT64", "[1]", `[9223372036854775807]`) + `]}`, status: 400, want: "no 64-bit float equals"},
		"a row":                   {body: `{"inputs":[` + input("sqft_living", "FP64", "[3]", `[1,null,null]`) + "," + input("floors", "FP64", "[3]", `[1,1,1]`) + `]}`, status: 400, want: `row 1: stage decode, class missing_field, field "sqft_living": `},
		"and the others":          {body: `{"inputs":[` + input("sqft_living", "FP64", "[3]", `[1,null,null]`) + "," + input("floors", "FP64", "[3]", `[1,1,1]`) + `]}`, status: 400, want: `; and 1 more of the 3 rows`},
		"a rule":                  {body: `{"inputs":[` + input("sqft_living", "FP64", "[1]", `[1]`) + "," + input("bedrooms", "FP64", "[1]", `[0]`) + `]}`, status: 400, want: `row 0: stage check`},
		"a record":                {body: `{"inputs":[` + input("record", "BYTES", "[2]", `["{\"sqft_living\":1}","{"]`) + `]}`, status: 400, want: "row 1: stage decode, class invalid_json"},
		"too many records":        {body: `{"inputs":[` + input("record", "BYTES", "[16385]", `[""`+strings.Repeat(`,""`, 16384)+`]`) + `]}`, status: 413, want: "more than 16384 records"},
		"too many rows":           {body: `{"inputs":[` + input("floors", "INT8", "[16385]", `[1`+strings.Repeat(`,1`, 16384)+`]`) + `]}`, status: 413, want: "more than 16384 records"},
		"an unknown output":       {body: `{"inputs":[],"outputs":[{"name":"y"}]}`, status: 400, want: `output "y" is no output of the model: it has predicted_price`},
		"an output twice":         {body: `{"inputs":[],"outputs":[{"name":"predicted_price"},{"name":"predicted_price"}]}`, status: 400, want: "wanted twice"},
		"classes":                 {body: `{"inputs":[],"outputs":[{"name":"predicted_price","parameters":{"classification":2}}]}`, status: 501, want: "classification"},
		"an encoding":             {body: "{}", headers: []string{"Content-Encoding", "br"}, status: 415, want: "content encoding"},
		"not gzip":                {body: "{}", headers: []string{"Content-Encoding", "gzip"}, status: 400, want: "the body"},
		"a length":                {body: "{}", headers: []string{oip.HeaderLength, "3"}, status: 400, want: "says 3 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := c.path
			if path == "" {
				path = inferPath
			}
			a := s.send(http.MethodPost, path, c.body, c.headers...)
			if got := oip.DecodeError([]byte(a.body)); a.status != c.status || !strings.Contains(got, c.want) || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d: %s; want %d: ...%s...", a.status, got, c.status, c.want)
			}
		})
	}
}

// TestInfinity wants an infinite number to be refused as a field, which JSON could not have, and not to be taken for a missing one.
func TestInfinity(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	body, length, err := oip.EncodeRequest(nil, &oip.InferRequest{Inputs: []oip.Tensor{{Name: "sqft_living", Datatype: oip.FP64, Shape: []int64{2}, Floats: []float64{1, math.Inf(-1)}, Binary: true}}})
	if err != nil {
		t.Fatal(err)
	}
	a := s.send(http.MethodPost, inferPath, string(body), oip.HeaderLength, strconv.Itoa(length))
	if got := oip.DecodeError([]byte(a.body)); a.status != 400 || !strings.Contains(got, `row 1: stage decode, class out_of_range, field "sqft_living": the number is infinite`) {
		t.Errorf("%d: %s", a.status, got)
	}
}

// TestBodies pins the bodies that clients of KServe and Triton read.
func TestBodies(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/v2/health/live", `{"live":true}`},
		{"GET", "/v2/health/ready", `{"ready":true}`},
		{"GET", "/v2", `{"name":"millrace","version":"test","extensions":["binary_tensor_data","model_repository","statistics","model_configuration"]}`},
		{"GET", "/v2/", `{"name":"millrace","version":"test","extensions":["binary_tensor_data","model_repository","statistics","model_configuration"]}`},
		{"GET", "/v2/models", `{"models":["house-prices","busy-streets"]}`},
		{"GET", "/v2/models/house-prices/ready", `{"name":"house-prices","ready":true}`},
		{"GET", "/v2/models/house-prices/versions/latest/ready", `{"name":"house-prices","ready":true}`},
		{"GET", "/v2/models/house-prices", `{"name":"house-prices","versions":["1","2","3"],"platform":"millrace","inputs":[{"name":"date","datatype":"BYTES","shape":[-1]},{"name":"bedrooms","datatype":"FP64","shape":[-1]},` +
			`{"name":"bathrooms","datatype":"FP64","shape":[-1]},{"name":"sqft_living","datatype":"FP64","shape":[-1]},{"name":"floors","datatype":"FP64","shape":[-1]},{"name":"condition","datatype":"BYTES","shape":[-1]},` +
			`{"name":"yr_built","datatype":"FP64","shape":[-1]},{"name":"city","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"predicted_price","datatype":"FP64","shape":[-1]}]}`},
		{"POST", "/v2/repository/index", `[{"name":"house-prices","version":"1","state":"READY","reason":""},{"name":"house-prices","version":"2","state":"READY","reason":""},` +
			`{"name":"house-prices","version":"3","state":"READY","reason":""},{"name":"busy-streets","version":"1","state":"READY","reason":""}]`},
		{"GET", "/v2/models/busy-streets/config", `{"name":"busy-streets","platform":"millrace","backend":"millrace","max_batch_size":0,"input":[{"name":"bedrooms","data_type":"TYPE_FP64","dims":[-1]},` +
			`{"name":"bathrooms","data_type":"TYPE_FP64","dims":[-1]},{"name":"sqft_living","data_type":"TYPE_FP64","dims":[-1]},{"name":"sold","data_type":"TYPE_FP64","dims":[-1]}],"output":[{"name":"predicted_price","data_type":"TYPE_FP64","dims":[-1]}]}`},
		{"POST", "/v2/repository/models/busy-streets/unload", `{"name":"busy-streets","unload":true}`},
		{"POST", "/v2/repository/models/busy-streets/load", `{"name":"busy-streets","load":true}`},
	} {
		a := s.send(c.method, c.path, "")
		if got := strings.TrimSuffix(a.body, "\n"); a.status != http.StatusOK || got != c.want {
			t.Errorf("%s %s: %d\n%s\n%s", c.method, c.path, a.status, got, c.want)
		}
	}
}

// TestRepository unloads and loads a model, and looks at what that changes.
func TestRepository(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	want := func(method, path, body string, status int, holds string) {
		t.Helper()
		if a := s.send(method, path, body); a.status != status || !strings.Contains(a.body, holds) {
			t.Errorf("%s %s: %d: %s; want %d: ...%s...", method, path, a.status, a.body, status, holds)
		}
	}
	want("POST", "/v2/repository/models/house-prices/unload", "", 200, "")
	want("GET", "/v2/models/house-prices/ready", "", 503, "error")
	want("GET", "/v2/models/house-prices", "", 503, "error")
	want("GET", "/v2/health/ready", "", 200, "")
	want("POST", "/v2/repository/index", "", 200, `"state":"UNAVAILABLE"`)
	if a := s.send("POST", "/v2/repository/index", `{"ready":true}`); strings.Contains(a.body, "house-prices") || !strings.Contains(a.body, "busy-streets") {
		t.Errorf("the index of what is ready: %s", a.body)
	}
	if a := s.send("POST", inferPath, "{"); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a model that is unloaded: %d %v", a.status, a.header)
	}
	want("POST", "/v2/repository/models/house-prices/load", `{"parameters":{"config":"{}"}}`, 501, "registry")
	want("POST", "/v2/repository/models/house-prices/load", `{"parameters":{"file:1/model":"x"}}`, 501, "registry")
	want("POST", "/v2/repository/models/house-prices/load", `{"parameters":{"other":true}}`, 200, "load")
	want("GET", "/v2/models/house-prices/ready", "", 200, "true")
	for _, path := range []string{"/v2/repository/models/nobody/load", "/v2/repository/models/nobody/unload"} {
		want("POST", path, "", 404, "no such model")
	}
	for _, body := range []string{"[]", "{", `{"ready":1}`, `{} {}`} {
		want("POST", "/v2/repository/index", body, 400, "JSON object")
	}
	for path, status := range map[string]int{"/v2/models/nobody/stats": 404, "/v2/models/house-prices/versions/9/stats": 404, "/v2/models/nobody/ready": 404, "/v2/models/nobody/config": 404, "/v2/models/nobody": 404} {
		want("GET", path, "", status, "error")
	}
}

// TestStatistics wants what was done to be counted.
func TestStatistics(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	for range 3 {
		s.infer(&oip.InferRequest{Inputs: wholeRecords(w.records)})
	}
	s.send("POST", inferPath, `{"inputs":[{"name":"record","datatype":"BYTES","shape":[2],"data":["{}","{"]}]}`) // two rows without a prediction
	for path, models := range map[string]int{"/v2/models/stats": 2, "/v2/models/house-prices/stats": 1, "/v2/models/house-prices/versions/latest/stats": 1, "/v2/models/house-prices/versions/2/stats": 1} {
		var got oip.Statistics
		if a := s.send("GET", path, ""); a.status != 200 || json.Unmarshal([]byte(a.body), &got) != nil || len(got.Models) != models {
			t.Errorf("%s: %s", path, a.body)
			continue
		}
		m := got.Models[0]
		if m.Name != "house-prices" || m.Version != "2" || m.Inferences != uint64(3*len(w.records)) || m.Executions < 3 || m.Requests.Success.Count != 4 || m.Requests.ComputeInput.Nanoseconds == 0 || m.Last == 0 {
			t.Errorf("%s: %+v", path, m)
		}
	}
}

// TestCompressedAnswer wants large answers in the encoding that the client prefers, and small ones as they are.
func TestCompressedAnswer(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	many := make([][]byte, 0, 10*len(w.records))
	for range 10 {
		many = append(many, w.records...)
	}
	var c oip.Compressor
	for _, encoding := range []string{oip.Gzip, oip.Deflate} {
		for n, want := range map[int]string{1: "", len(many): encoding} {
			body, _, err := oip.EncodeRequest(nil, &oip.InferRequest{Inputs: wholeRecords(many[:n])})
			if err != nil {
				t.Fatal(err)
			}
			packed, err := c.Compress(nil, encoding, body)
			if err != nil {
				t.Fatal(err)
			}
			a := s.send("POST", inferPath, string(packed), "Content-Encoding", encoding, "Accept-Encoding", encoding)
			if got := a.header.Get("Content-Encoding"); a.status != 200 || got != want || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
				t.Errorf("%s of %d rows: %d, %q of %s bytes", encoding, n, a.status, got, a.header.Get("Content-Length"))
			}
			plain, err := oip.Decompress(want, strings.NewReader(a.body), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := oip.DecodeResponse(plain, "", oip.Limits{}); err != nil || len(got.Outputs[0].Floats) != n {
				t.Errorf("%s: %v", encoding, err)
			}
		}
	}
}

// FuzzInfer sends any bytes as requests: they are answered, or refused as faults of the client.
func FuzzInfer(f *testing.F) {
	w := theWorld(f)
	for _, inputs := range [][]oip.Tensor{wholeRecords(w.records[:2]), fieldTensors(f, w.records[:2]), inputTensors(f, w)} {
		for _, binary := range []bool{false, true} {
			for i := range inputs {
				inputs[i].Binary = binary
			}
			body, length, err := oip.EncodeRequest(nil, &oip.InferRequest{Inputs: inputs, BinaryOutput: binary})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body, strconv.Itoa(length), "")
		}
	}
	f.Add(w.records[0], "0", "")
	f.Add([]byte("x"), "", "gzip")
	s := newSite(f, w, server.Options{})
	f.Fuzz(func(t *testing.T, body []byte, length, encoding string) {
		var headers []string
		if length != "" {
			headers = append(headers, oip.HeaderLength, length)
		}
		if encoding != "" {
			headers = append(headers, "Content-Encoding", encoding)
		}
		own := *s
		own.t = t
		switch a := own.send("POST", inferPath, string(body), headers...); a.status {
		case 200:
			if _, err := oip.DecodeResponse([]byte(a.body), a.header.Get(oip.HeaderLength), oip.Limits{}); err != nil {
				t.Errorf("an answer that is none: %v: %s", err, a.body)
			}
		case 400, 413, 415, 501:
			if oip.DecodeError([]byte(a.body)) == "" {
				t.Errorf("%d without a reason: %s", a.status, a.body)
			}
		default:
			t.Errorf("%d: %s", a.status, a.body)
		}
	})
}
