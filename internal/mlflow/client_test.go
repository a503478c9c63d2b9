package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/secret"
)

func TestParseReference(t *testing.T) {
	t.Parallel()
	const tracking = "https://mlflow.example/prefix/"
	for text, want := range map[string]Reference{
		"mlflow://host/house-prices":            {URL: "http://host", Model: "house-prices"},
		"mlflow://host:5000/house-prices/3":     {URL: "http://host:5000", Model: "house-prices", Version: 3},
		"mlflow://[::1]:5000/houses@champion":   {URL: "http://[::1]:5000", Model: "houses", Alias: "champion"},
		"mlflow+https://host/My%20model/latest": {URL: "https://host", Model: "My model"},
		"models:/houses/3":                      {URL: "https://mlflow.example/prefix", Model: "houses", Version: 3},
		"models:/houses@champion":               {URL: "https://mlflow.example/prefix", Model: "houses", Alias: "champion"},
		"models:///houses":                      {URL: "https://mlflow.example/prefix", Model: "houses"},
	} {
		got, err := ParseReference(text, tracking)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || !IsReference(text) {
			t.Error(text, err, diff)
		}
	}
	for text, part := range map[string]string{
		"mlflow://host":                         "names no model",
		"mlflow:///houses":                      "names no model",
		"mlflow://host/":                        "no name has",
		"mlflow://host/houses/0":                "whole number",
		"mlflow://host/houses/03":               "whole number",
		"mlflow://host/houses/Production":       "whole number",
		"mlflow://host/houses/1/2":              "whole number",
		"mlflow://host/houses/1@champion":       "@ALIAS or /VERSION",
		"mlflow://host/houses@":                 "@ALIAS or /VERSION",
		"mlflow://host/houses@a@b":              "@ALIAS or /VERSION",
		"mlflow://host/it's":                    "no name has",
		"mlflow://host/a%2fb":                   "no name has",
		"mlflow://host/a%1bb":                   "no name has",
		"mlflow://user:sesame@host/houses":      "MLFLOW_TRACKING_USERNAME",
		"mlflow://host?x=y/houses":              "query",
		"mlflow://ho st/houses":                 "form",
		"mlflow://" + strings.Repeat("h", 2000): "too long",
		"models:/houses/\xff":                   "UTF-8",
	} {
		_, err := ParseReference(text, tracking)
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, server := range []string{"", "file:///mlruns", "databricks", "https://u:sesame@host", "https://host/#x"} {
		if _, err := ParseReference("models:/houses/3", server); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%q: %v", server, err)
		}
	}
}

// peer is an MLflow server of one version, whose answers tests change.
type peer struct {
	files map[string]string // by path below the artifacts
	uri   string
	asked []*http.Request
}

func newPeer() *peer {
	return &peer{uri: "mlflow-artifacts:/2/models/m-1/artifacts", files: map[string]string{
		"2/models/m-1/artifacts/MLmodel":   "flavors:\n  lightgbm:\n    data: model.lgb\n    code: null\n  python_function:\n    env: {conda: conda.yaml}\nrun_id: abc\n",
		"2/models/m-1/artifacts/model.lgb": "tree\n",
	}}
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked = append(p.asked, r)
	if file, ok := strings.CutPrefix(r.URL.Path, artifactsPrefix+"/"); ok {
		if text, ok := p.files[file]; ok {
			_, _ = w.Write([]byte(text))
			return
		}
		WriteError(w, failed(Missing, "No such artifact:\x1b[2J\n%s", file))
		return
	}
	version := wireVersion{Name: "houses", Version: "7", Run: "abc", Source: "models:/m-1"}
	switch strings.TrimPrefix(r.URL.Path, registryPrefix) {
	case "model-versions/get-download-uri":
		writeJSON(w, http.StatusOK, map[string]string{"artifact_uri": p.uri})
	case "model-versions/search":
		writeJSON(w, http.StatusOK, versionsAnswer{Versions: []wireVersion{version}})
	default:
		writeJSON(w, http.StatusOK, versionAnswer{version})
	}
}

func fetch(t *testing.T, h http.Handler, r Reference, change func(*ClientOptions)) (*Fetched, error) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	o := ClientOptions{URL: server.URL, Transport: server.Client().Transport}
	if change != nil {
		change(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c.Fetch(t.Context(), r)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]struct {
		Reference
		query string
	}{
		"a version": {Reference{Model: "houses", Version: 7}, "name=houses&version=7"},
		"an alias":  {Reference{Model: "houses", Alias: "champion"}, "alias=champion&name=houses"},
		"the last":  {Reference{Model: "houses"}, "filter=name%3D%27houses%27&max_results=1&order_by=version_number+DESC"},
	} {
		p := newPeer()
		f, err := fetch(t, p, ask.Reference, func(o *ClientOptions) { o.Token = secret.New("sesame") })
		if err != nil {
			t.Fatal(name, err)
		}
		want := &Fetched{Server: f.Server, Model: "houses", Version: 7, Run: "abc", Flavor: LightGBM, File: "model.lgb", Data: []byte("tree\n")}
		if diff := cmp.Diff(want, f); diff != "" || f.Ref() != "mlflow://"+f.Server+"/houses/7" {
			t.Error(name, diff)
		}
		if q := p.asked[0].URL.RawQuery; q != ask.query || len(p.asked) != 4 {
			t.Errorf("%s: asked %d times, first for %s", name, len(p.asked), q)
		}
		for _, r := range p.asked {
			if r.Header.Get("Authorization") != "Bearer sesame" {
				t.Errorf("%s: %s", name, r.Header)
			}
		}
	}
}

// TestFetchOfMillrace reads what a server of this package serves.
func TestFetchOfMillrace(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(serve(t, houses()))
	if err != nil {
		t.Fatal(err)
	}
	for text, version := range map[string]int{"mlflow://" + u.Host + "/house-prices@champion": 3, "mlflow://" + u.Host + "/house-prices": 4, "mlflow://" + u.Host + "/house-prices/2": 2} {
		r, err := ParseReference(text, "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewClient(ClientOptions{URL: r.URL, Transport: http.DefaultTransport, User: "anna", Password: secret.New("sesame")})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Fetch(t.Context(), r)
		if err != nil || f.Version != version || f.Flavor != Flavor || string(f.Data) != fmt.Sprint("bundle of house-prices@", version) {
			t.Error(text, f, err)
		}
	}
}

func TestRefusedFetches(t *testing.T) {
	t.Parallel()
	const mlmodel, data = "2/models/m-1/artifacts/MLmodel", "2/models/m-1/artifacts/model.lgb"
	for name, test := range map[string]struct {
		change func(*peer)
		want   error // nil: an *Error, or a *FlavorError
		part   string
	}{
		"in a bucket":     {func(p *peer) { p.uri = "s3://bucket/m?token=sesame" }, ErrElsewhere, `"s3:"`},
		"in a folder":     {func(p *peer) { p.uri = "/srv/mlruns/2" }, ErrElsewhere, ""},
		"on another host": {func(p *peer) { p.uri = "mlflow-artifacts://169.254.169.254/latest" }, ErrElsewhere, ""},
		"above the root":  {func(p *peer) { p.uri = "mlflow-artifacts:/2/../../etc" }, ErrAnswer, "path of the files"},
		"nowhere":         {func(p *peer) { p.uri = "mlflow-artifacts:/" }, ErrAnswer, "path of the files"},
		"escaped":         {func(p *peer) { p.uri = "mlflow-artifacts:/a%252f.." }, ErrAnswer, "path of the files"},
		"no MLmodel":      {func(p *peer) { delete(p.files, mlmodel) }, nil, "MLmodel: the server answers 404: No such artifact:[2J 2/models"},
		"no model":        {func(p *peer) { delete(p.files, data) }, nil, "model.lgb: the server answers 404"},
		"a large MLmodel": {func(p *peer) { p.files[mlmodel] = strings.Repeat(" ", maxMLmodel+1) }, ErrAnswer, "bytes"},
		"no YAML":         {func(p *peer) { p.files[mlmodel] = "{" }, nil, "not a YAML document"},
		"no flavors":      {func(p *peer) { p.files[mlmodel] = "run_id: x\n" }, nil, "names no flavors"},
		"sklearn": {func(p *peer) {
			p.files[mlmodel] = "flavors: {sklearn: {pickled_model: model.pkl}, python_function: {}}\n"
		}, nil, "it has the flavors python_function, sklearn"},
		"a pickle of LightGBM": {func(p *peer) { p.files[mlmodel] = "flavors: {lightgbm: {data: model.skops}}\n" }, nil, `saved as "model.skops"`},
		"a pickle of XGBoost":  {func(p *peer) { p.files[mlmodel] = "flavors: {xgboost: {data: model.pkl}}\n" }, nil, `saved as "model.pkl"`},
		"beside the root":      {func(p *peer) { p.files[mlmodel] = "flavors: {lightgbm: {data: ../model.lgb}}\n" }, nil, "saved as"},
		"of the root":          {func(p *peer) { p.files[mlmodel] = "flavors: {lightgbm: {data: /etc/model.lgb}}\n" }, nil, "saved as"},
	} {
		p := newPeer()
		test.change(p)
		_, err := fetch(t, p, Reference{Model: "houses", Version: 7}, nil)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.part) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusedAnswers bears with servers that are none, or mean ill.
func TestRefusedAnswers(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		h    http.HandlerFunc
		want error
		part string
	}{
		"a redirect":     {answer(http.StatusFound, ""), ErrAnswer, "redirects are not followed"},
		"HTML":           {answer(http.StatusOK, "<html>"), ErrAnswer, "not JSON"},
		"another model":  {answer(http.StatusOK, `{"model_version":{"name":"cars","version":"7"}}`), ErrAnswer, "another model"},
		"no version":     {answer(http.StatusOK, `{"model_version":{"name":"houses","version":"x"}}`), ErrAnswer, "no version"},
		"too much":       {answer(http.StatusOK, strings.Repeat("x", maxAnswer+1)), ErrAnswer, "bytes"},
		"too much, said": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99999999999") }, ErrAnswer, "at most"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, ErrUnreachable, "to the end"},
		"not who we are":  {answer(http.StatusUnauthorized, "You are not authenticated. <a href=..."), nil, "the server answers 401"},
		"no such model":   {answer(http.StatusNotFound, `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Registered Model with name=houses not found"}`), nil, "404: Registered Model with name=houses not found"},
		"it has failed":   {answer(http.StatusInternalServerError, `{"error_code":"INTERNAL_ERROR","message":"boom"}`), ErrUnreachable, "boom"},
		"a proxy's error": {answer(http.StatusBadGateway, "<html>"), ErrUnreachable, "502"},
	} {
		_, err := fetch(t, test.h, Reference{Model: "houses", Version: 7}, nil)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.part) {
			t.Errorf("%s: %v", name, err)
		}
		if _, isError := errors.AsType[*Error](err); test.want == nil && !isError {
			t.Errorf("%s: %T", name, err)
		}
	}
}

func TestClientSecrets(t *testing.T) {
	t.Parallel()
	for _, o := range []ClientOptions{
		{URL: "http://mlflow.example", Token: secret.New("sesame")},
		{URL: "http://10.0.0.1:5000", User: "anna", Password: secret.New("sesame")},
		{URL: "https://mlflow.example", Token: secret.New("sesame\r\nX: y")},
		{URL: "https://anna:sesame@mlflow.example"},
		{URL: "nowhere"},
	} {
		o.Transport = http.DefaultTransport
		if _, err := NewClient(o); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Error(err)
		}
	}
	for _, base := range []string{"http://localhost:5000", "http://[::1]:5000", "http://127.0.0.1", "https://mlflow.example"} {
		if _, err := NewClient(ClientOptions{URL: base, Token: secret.New("sesame"), Transport: http.DefaultTransport}); err != nil {
			t.Error(base, err)
		}
	}
}

// TestFetchEnds returns when the caller has gone.
func TestFetchEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	c, err := NewClient(ClientOptions{URL: server.URL, Transport: server.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(ctx, Reference{Model: "houses"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestParseMLmodel(t *testing.T) {
	t.Parallel()
	f, err := parseMLmodel([]byte("a: &id001 [1, 2]\nb: *id001\nflavors:\n  millrace: {bundle: h.millrace, n: 3, list: [x], more: *id001}\n  other:\n"))
	if diff := cmp.Diff(flavors{"millrace": {"bundle": "h.millrace", "n": "3"}, "other": {}}, f); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for name, text := range map[string]string{
		"nothing":      "",
		"two":          "flavors: {a: {}}\n---\nflavors: {b: {}}\n",
		"a list":       "- flavors\n",
		"no list":      "flavors: 3\n",
		"none":         "flavors: {}\n",
		"twice":        "flavors: {a: {}, a: {}}\n",
		"an alias":     "x: &y {a: {}}\nflavors: *y\n",
		"a bad name":   "flavors: {\"a\\eb\": {}}\n",
		"deep":         "flavors: {a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}\n",
		"many flavors": "flavors: {" + strings.Repeat("a: {}, ", maxFlavors+1) + "}\n",
	} {
		if f, err := parseMLmodel([]byte(text)); err == nil {
			t.Errorf("%s: %v", name, f)
		}
	}
	// What this package writes, it reads.
	m := &houses().models[1]
	f, err = parseMLmodel(m.mlmodel(&m.Versions[2]))
	if err != nil {
		t.Fatal(err)
	}
	flavor, file, err := f.file()
	text, _ := json.Marshal(f)
	if flavor != Flavor || file != "house-prices.millrace" || err != nil || f[Flavor]["digest"] != m.Versions[2].Digest || f[Flavor]["version"] != "3" {
		t.Error(flavor, file, err, string(text))
	}
}
