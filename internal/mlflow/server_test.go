package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/auth"
)

// fakeStore is a registry in memory, which notes the changes that it is asked for.
type fakeStore struct {
	mu      sync.Mutex
	models  []Model
	changes []Change
	err     error
}

func (s *fakeStore) Models(context.Context) ([]Model, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.models), s.err
}

func (s *fakeStore) Bundle(_ context.Context, name string, version int) ([]byte, error) {
	return fmt.Appendf(nil, "bundle of %s@%d", name, version), s.err
}

func (s *fakeStore) Change(_ context.Context, c Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, c)
	return s.err
}

func at(second int64) time.Time { return time.Unix(second, 0).UTC() }

// houses returns a store of three models, the first of which has a version of each stage.
func houses() *fakeStore {
	version := func(n int, state string, stage Stage) Version {
		return Version{
			Number: n, State: state, Stage: stage, By: "bob", Created: at(int64(n)), Updated: at(100 - int64(n)),
			Digest: fmt.Sprintf("sha256:%064d", n), Bytes: int64(len("bundle of house-prices@1")),
		}
	}
	house := Model{
		Name: "house-prices", Created: at(1), Updated: at(99), Notes: Notes{Tags: map[string]string{"team": "pricing"}, Description: "What a house costs"},
		Aliases: map[string]int{"champion": 3, "candidate": 4, "eu": 2},
		Versions: []Version{
			version(1, "rejected", StageArchived), version(2, "approved", StageStaging), version(3, "approved", StageProduction), version(4, "candidate", StageNone),
		},
	}
	house.Versions[0].Problem = "the bundle was removed"
	house.Versions[2].Tags = map[string]string{"rows": "21613", "the key": "it's"}
	house.Versions[2].Description = "more rows"
	return &fakeStore{models: []Model{
		{Name: "cars", Created: at(5), Updated: at(6), Versions: []Version{version(1, "candidate", StageNone)}, Aliases: map[string]int{"candidate": 1}},
		house,
		{Name: "houses_2", Created: at(3), Updated: at(7), Versions: []Version{version(1, "approved", StageProduction)}, Aliases: map[string]int{"champion": 1}},
	}}
}

// serve returns the URL of a server of the store's.
func serve(t *testing.T, store Store) string {
	t.Helper()
	s, err := New(Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		if r.Summary == "" || r.Role == auth.Anyone {
			t.Errorf("%s %s needs no role, or says not what it is", r.Method, r.Path)
		}
		mux.Handle(r.Method+" "+r.Path, r.Handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// answer is what a server has sent.
type answer struct {
	status int
	header http.Header
	body   string
}

func send(t *testing.T, method, url, body, contentType string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// call sends a call of the registry's: "GET registered-models/get?name=cars", or with a body.
func call(t *testing.T, base, what, body string) answer {
	t.Helper()
	method, path, _ := strings.Cut(what, " ")
	contentType := ""
	if method != http.MethodGet {
		contentType = "application/json"
	}
	return send(t, method, base+registryPrefix+path, body, contentType)
}

func decode[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

func TestGetModel(t *testing.T) {
	t.Parallel()
	base := serve(t, houses())
	m := decode[modelAnswer](t, call(t, base, "GET registered-models/get?name=house-prices", "")).Model
	var latest []string
	for _, v := range m.Latest {
		latest = append(latest, v.Version+" "+string(v.Stage))
	}
	if diff := cmp.Diff([]string{"4 None", "2 Staging", "3 Production", "1 Archived"}, latest); diff != "" {
		t.Error(diff)
	}
	want := wireModel{
		Name: "house-prices", Created: 1000, Updated: 99_000, Description: "What a house costs", Latest: m.Latest, Tags: []wireTag{{"team", "pricing"}},
		Aliases: []wireAlias{{"candidate", "4"}, {"champion", "3"}, {"eu", "2"}},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestGetVersion(t *testing.T) {
	t.Parallel()
	base := serve(t, houses())
	want := wireVersion{
		Name: "house-prices", Version: "3", Created: 3000, Updated: 97_000, User: "bob", Stage: StageProduction, Description: "more rows",
		Source: "mlflow-artifacts:/models/house-prices/3", Status: "READY", Aliases: []string{"champion"},
		Tags: []wireTag{{"millrace.digest", fmt.Sprintf("sha256:%064d", 3)}, {"millrace.state", "approved"}, {"rows", "21613"}, {"the key", "it's"}},
	}
	for _, what := range []string{"model-versions/get?name=house-prices&version=3", "registered-models/alias?name=house-prices&alias=champion"} {
		if diff := cmp.Diff(want, decode[versionAnswer](t, call(t, base, "GET "+what, "")).Version); diff != "" {
			t.Error(what, diff)
		}
	}
	if v := decode[versionAnswer](t, call(t, base, "GET model-versions/get?name=house-prices&version=1", "")).Version; v.Status != "FAILED_REGISTRATION" || v.StatusMessage != "the bundle was removed" {
		t.Errorf("%+v", v)
	}
	uri := decode[map[string]string](t, call(t, base, "GET model-versions/get-download-uri?name=house-prices&version=3", ""))
	if uri["artifact_uri"] != want.Source {
		t.Error(uri)
	}
}

func TestLatestVersions(t *testing.T) {
	t.Parallel()
	base := serve(t, houses())
	for what, want := range map[[2]string]string{
		{"GET registered-models/get-latest-versions?name=house-prices", ""}:                                                 "4 2 3 1",
		{"GET registered-models/get-latest-versions?name=house-prices&stages=Production&stages=none&stages=Production", ""}: "3 4",
		{"POST registered-models/get-latest-versions", `{"name":"house-prices","stages":["Archived"]}`}:                     "1",
		{"POST registered-models/get-latest-versions", `{"name":"cars","stages":["Production"]}`}:                           "",
	} {
		var got []string
		for _, v := range decode[versionsAnswer](t, call(t, base, what[0], what[1])).Versions {
			got = append(got, v.Version)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
}

// search returns what a search finds, NAME or NAME@VERSION, and the token of the next page.
func search(t *testing.T, base, kind string, parameters url.Values) (found, next string) {
	t.Helper()
	a := call(t, base, "GET "+kind+"/search?"+parameters.Encode(), "")
	var names []string
	if kind == "registered-models" {
		m := decode[modelsAnswer](t, a)
		for _, m := range m.Models {
			names = append(names, m.Name)
		}
		return strings.Join(names, " "), m.Next
	}
	v := decode[versionsAnswer](t, a)
	for _, v := range v.Versions {
		names = append(names, v.Name+"@"+v.Version)
	}
	return strings.Join(names, " "), v.Next
}

func TestSearchModels(t *testing.T) {
	t.Parallel()
	base := serve(t, houses())
	for filter, want := range map[string]string{
		"":                          "cars house-prices houses_2",
		"name = 'cars'":             "cars",
		"name='cars'":               "cars",
		`name = "cars"`:             "cars",
		"attribute.name != 'cars'":  "house-prices houses_2",
		"name LIKE 'house%'":        "house-prices houses_2",
		"name like '%s_2'":          "houses_2",
		"name LIKE 'HOUSE%'":        "",
		"name ILIKE 'HOUSE%'":       "house-prices houses_2",
		"name IN ('cars', 'boats')": "cars",
		"name NOT IN ('cars')":      "house-prices houses_2",
		"tags.team = 'pricing'":     "house-prices",
		"tag.`team` LIKE 'pri%' and name LIKE 'h%'":     "house-prices",
		`tags."team" != 'pricing'`:                      "", // whoever has no tag fits no condition about it
		"tag.`mlflow.prompt.is_prompt` != 'true'":       "cars house-prices houses_2",
		"tag.`mlflow.prompt.is_prompt` = 'true'":        "",
		"creation_timestamp >= 3000":                    "cars houses_2",
		"creation_timestamp > 3000 AND name LIKE '%'":   "cars",
		"last_updated_timestamp<7000":                   "cars",
		"  name\t=\n'cars'  ":                           "cars",
		"name = 'cars' AND tag.`mlflow.x` = 'a''b'":     "",
		"creation_timestamp != 5000 AND name != 'cars'": "house-prices houses_2",
		"creation_timestamp = 5000":                     "cars",
		"creation_timestamp <= 1000":                    "house-prices",
	} {
		if got, next := search(t, base, "registered-models", url.Values{"filter": {filter}}); got != want || next != "" {
			t.Errorf("%s: %s, want %s", filter, got, want)
		}
	}
	for order, want := range map[string]string{
		"name DESC":                   "houses_2 house-prices cars",
		"name":                        "cars house-prices houses_2",
		"timestamp asc":               "cars houses_2 house-prices",
		"creation_timestamp DESC":     "cars houses_2 house-prices",
		"attribute.`name` DESC":       "houses_2 house-prices cars",
		"last_updated_timestamp desc": "house-prices houses_2 cars",
	} {
		if got, _ := search(t, base, "registered-models", url.Values{"order_by": {order}}); got != want {
			t.Errorf("%s: %s, want %s", order, got, want)
		}
	}
}

func TestSearchVersions(t *testing.T) {
	t.Parallel()
	base := serve(t, houses())
	for filter, want := range map[string]string{
		"":                                   "cars@1 house-prices@1 houses_2@1 house-prices@2 house-prices@3 house-prices@4", // the last updated first
		"name='house-prices'":                "house-prices@1 house-prices@2 house-prices@3 house-prices@4",
		"version_number >= 3":                "house-prices@3 house-prices@4",
		"tags.`the key`= 'it''s'":            "house-prices@3",
		"tags.`millrace.state` = 'approved'": "houses_2@1 house-prices@2 house-prices@3",
		"run_id = 'abc'":                     "",
		"run_id IN ('abc', '')":              "cars@1 house-prices@1 houses_2@1 house-prices@2 house-prices@3 house-prices@4",
		"source_path LIKE '%/3'":             "house-prices@3",
		"user_id = 'bob' AND name = 'cars'":  "cars@1",
	} {
		if got, _ := search(t, base, "model-versions", url.Values{"filter": {filter}}); got != want {
			t.Errorf("%s: %s, want %s", filter, got, want)
		}
	}
	if got, _ := search(t, base, "model-versions", url.Values{"order_by": {"name DESC", "version_number ASC"}}); got != "houses_2@1 house-prices@1 house-prices@2 house-prices@3 house-prices@4 cars@1" {
		t.Error(got)
	}
}

// TestPages goes through all pages, and refuses tokens that a search has not given.
func TestPages(t *testing.T) {
	t.Parallel()
	base := serve(t, houses())
	p := url.Values{"max_results": {"1"}, "order_by": {"name DESC"}}
	var all []string
	for {
		found, next := search(t, base, "registered-models", p)
		all = append(all, found)
		if next == "" {
			break
		}
		p.Set("page_token", next)
	}
	if diff := cmp.Diff([]string{"houses_2", "house-prices", "cars"}, all); diff != "" {
		t.Error(diff)
	}
	token := p.Get("page_token")
	for name, q := range map[string]url.Values{
		"of another order":  {"max_results": {"1"}, "order_by": {"name"}, "page_token": {token}},
		"of another filter": {"max_results": {"1"}, "order_by": {"name DESC"}, "filter": {"name != 'x'"}, "page_token": {token}},
		"changed":           {"order_by": {"name DESC"}, "page_token": {token + "A"}},
		"none":              {"page_token": {"zz"}},
		"long":              {"page_token": {strings.Repeat("A", 1000)}},
	} {
		refused(t, name, call(t, base, "GET registered-models/search?"+q.Encode(), ""), InvalidParameter, "page token")
	}
	q := url.Values{"order_by": {"name DESC"}, "page_token": {token}}
	refused(t, "of another kind", call(t, base, "GET model-versions/search?"+q.Encode(), ""), InvalidParameter, "page token")
}

// refused wants an error of MLflow's.
func refused(t *testing.T, name string, a answer, code Code, part string) {
	t.Helper()
	var e struct {
		Code    Code   `json:"error_code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Code != code || a.status != code.Status() || !strings.Contains(e.Message, part) {
		t.Errorf("%s: got %d %s, want %s with %q", name, a.status, a.body, code, part)
	}
}

func TestRefusedReads(t *testing.T) {
	t.Parallel()
	base := serve(t, houses())
	for what, want := range map[string]struct {
		code Code
		part string
	}{
		"registered-models/get":                                                   {InvalidParameter, "name is missing"},
		"registered-models/get?name=boats":                                        {Missing, "boats"},
		"registered-models/get?name=cars&name=boats":                              {InvalidParameter, "2 times"},
		"registered-models/get?name=%ff":                                          {InvalidParameter, "UTF-8"},
		"registered-models/get?name=%zz":                                          {InvalidParameter, "query string"},
		"registered-models/get?name=" + strings.Repeat("x", maxQuery):             {InvalidParameter, "bytes"},
		"model-versions/get?name=cars":                                            {InvalidParameter, "version is missing"},
		"model-versions/get?name=cars&version=x":                                  {InvalidParameter, "whole number"},
		"model-versions/get?name=cars&version=01":                                 {InvalidParameter, "whole number"},
		"model-versions/get?name=cars&version=0":                                  {InvalidParameter, "whole number"},
		"model-versions/get?name=cars&version=9":                                  {Missing, "no version 9"},
		"registered-models/alias?name=cars&alias=eu":                              {InvalidParameter, `no alias "eu"`},
		"registered-models/get-latest-versions?name=cars&stages=Trash":            {InvalidParameter, "Trash"},
		"registered-models/search?max_results=0":                                  {InvalidParameter, "max_results"},
		"registered-models/search?max_results=1001":                               {InvalidParameter, "max_results"},
		"registered-models/search?max_results=ten":                                {InvalidParameter, "max_results"},
		"registered-models/search?max_results=1&max_results=2":                    {InvalidParameter, "max_results"},
		"model-versions/search?max_results=200001":                                {InvalidParameter, "max_results"},
		"registered-models/search?order_by=size":                                  {InvalidParameter, "size"},
		"registered-models/search?order_by=name+UP":                               {InvalidParameter, "ASC"},
		"registered-models/search?order_by=":                                      {InvalidParameter, "order_by"},
		"registered-models/search?order_by=a" + strings.Repeat("&order_by=a", 10): {InvalidParameter, "at most 10"},
		"experiments/search":                                                      {NoEndpoint, "experiments"},
		"runs/get":                                                                {NoEndpoint, "experiments"},
	} {
		refused(t, what, call(t, base, "GET "+what, ""), want.code, want.part)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	for what, want := range map[[2]string]Change{
		{"POST registered-models/set-tag", `{"name":"cars","key":"a","value":"b"}`}:                      {Kind: ChangeTag, Model: "cars", Key: "a", Value: "b"},
		{"POST registered-models/set-tag", `{"name":"cars","key":"a","value":""}`}:                       {Kind: ChangeTag, Model: "cars", Key: "a"},
		{"DELETE registered-models/delete-tag", `{"name":"cars","key":"a"}`}:                             {Kind: ChangeTag, Model: "cars", Key: "a", Remove: true},
		{"POST model-versions/set-tag", `{"name":"cars","version":"1","key":"a","value":"b","later":1}`}: {Kind: ChangeTag, Model: "cars", Version: 1, Key: "a", Value: "b"},
		{"DELETE model-versions/delete-tag", `{"name":"cars","version":"1","key":"a"}`}:                  {Kind: ChangeTag, Model: "cars", Version: 1, Key: "a", Remove: true},
		{"PATCH registered-models/update", `{"name":"cars","description":"d"}`}:                          {Kind: ChangeDescription, Model: "cars", Value: "d"},
		{"PATCH model-versions/update", `{"name":"cars","version":"1","description":""}`}:                {Kind: ChangeDescription, Model: "cars", Version: 1},
		{"POST registered-models/alias", `{"name":"cars","alias":"eu","version":"1"}`}:                   {Kind: ChangeAlias, Model: "cars", Version: 1, Key: "eu"},
		{"DELETE registered-models/alias", `{"name":"cars","alias":"eu"}`}:                               {Kind: ChangeAlias, Model: "cars", Key: "eu", Remove: true},
	} {
		store := houses()
		if a := call(t, serve(t, store), what[0], what[1]); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		if diff := cmp.Diff([]Change{want}, store.changes); diff != "" {
			t.Error(what, diff)
		}
	}
}

// TestDecided changes nothing that people decide, and says how they do.
func TestDecided(t *testing.T) {
	t.Parallel()
	store := houses()
	base := serve(t, store)
	alias := func(alias string, version int) string {
		return fmt.Sprintf(`{"name":"house-prices","alias":%q,"version":"%d"}`, alias, version)
	}
	stage := func(stage string, version int) string {
		return fmt.Sprintf(`{"name":"house-prices","stage":%q,"version":"%d"}`, stage, version)
	}
	for what, want := range map[[2]string]struct {
		code Code
		part string
	}{
		{"POST registered-models/alias", alias("champion", 2)}:                                               {PermissionDenied, "millrace model promote house-prices@2"},
		{"POST registered-models/alias", alias("Champion", 3)}:                                               {PermissionDenied, "millrace model promote"},
		{"POST registered-models/alias", alias("champion", 4)}:                                               {PermissionDenied, "millrace model approve house-prices@4"},
		{"POST registered-models/alias", alias("champion", 1)}:                                               {PermissionDenied, "is rejected"},
		{"POST registered-models/alias", alias("candidate", 2)}:                                              {PermissionDenied, "millrace train"},
		{"POST registered-models/alias", alias("challenger", 2)}:                                             {PermissionDenied, "millrace canary"},
		{"POST registered-models/alias", alias("latest", 2)}:                                                 {InvalidParameter, "reserved"},
		{"POST registered-models/alias", alias("eu", 9)}:                                                     {Missing, "no version 9"},
		{"DELETE registered-models/alias", `{"name":"house-prices","alias":"champion"}`}:                     {PermissionDenied, "cannot be taken away"},
		{"POST model-versions/transition-stage", stage("Production", 2)}:                                     {PermissionDenied, "millrace model promote house-prices@2"},
		{"POST model-versions/transition-stage", stage("production", 4)}:                                     {PermissionDenied, "millrace model approve"},
		{"POST model-versions/transition-stage", stage("Staging", 4)}:                                        {PermissionDenied, "millrace model approve"},
		{"POST model-versions/transition-stage", stage("Archived", 3)}:                                       {PermissionDenied, "millrace model retire"},
		{"POST model-versions/transition-stage", stage("None", 3)}:                                           {PermissionDenied, "register the bundle again"},
		{"POST model-versions/transition-stage", stage("Trash", 3)}:                                          {InvalidParameter, "Trash"},
		{"POST registered-models/create", `{"name":"boats"}`}:                                                {PermissionDenied, "millrace train"},
		{"POST registered-models/rename", `{"name":"cars","new_name":"boats"}`}:                              {PermissionDenied, "keeps its name"},
		{"DELETE registered-models/delete", `{"name":"cars"}`}:                                               {PermissionDenied, "millrace model gc"},
		{"POST model-versions/create", `{"name":"cars","source":"/etc"}`}:                                    {PermissionDenied, "millrace model import"},
		{"DELETE model-versions/delete", `{"name":"cars","version":"1"}`}:                                    {PermissionDenied, "millrace model reject"},
		{"POST model-versions/set-tag", `{"name":"cars","version":"1","key":"millrace.digest","value":"x"}`}: {InvalidParameter, "millrace."},
		{"POST model-versions/set-tag", `{"name":"cars","version":"1","key":"a"}`}:                           {InvalidParameter, "value is missing"},
		{"POST model-versions/set-tag", `{"name":"cars","version":1,"key":"a","value":"b"}`}:                 {InvalidParameter, "version is of the wrong type"},
		{"POST model-versions/set-tag", `[]`}:                                                                {InvalidParameter, "JSON object"},
		{"POST model-versions/set-tag", `{"name":"cars"} x`}:                                                 {InvalidParameter, "JSON object"},
		{"POST model-versions/set-tag", ``}:                                                                  {InvalidParameter, "version is missing"},
		{"POST model-versions/set-tag", `{"name":"` + strings.Repeat("x", MaxBody) + `"}`}:                   {InvalidParameter, "more than"},
		{"POST runs/create", `{}`}:                                                                           {NoEndpoint, "experiments"},
	} {
		refused(t, fmt.Sprint(what), call(t, base, what[0], what[1]), want.code, want.part)
	}
	for what, body := range map[string]string{ // it is so already
		"POST registered-models/alias":         alias("champion", 3),
		"DELETE registered-models/alias":       `{"name":"cars","alias":"champion"}`,
		"POST model-versions/transition-stage": stage("Production", 3),
	} {
		if a := call(t, base, what, body); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	refused(t, "a form", send(t, http.MethodPost, base+registryPrefix+"registered-models/set-tag", `{"name":"cars","key":"a","value":"b"}`, "text/plain"), InvalidParameter, "application/json")
	if len(store.changes) > 0 {
		t.Errorf("%+v", store.changes)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	base := serve(t, houses()) + artifactsPrefix
	get := func(path string) answer { return send(t, http.MethodGet, base+path, "", "") }
	type listed struct {
		Files []wireFile `json:"files"`
	}
	list := decode[listed](t, get("?path=models/house-prices/3"))
	if diff := cmp.Diff(listed{[]wireFile{{Path: "MLmodel", Size: int64(len(get("/models/house-prices/3/MLmodel").body))}, {Path: "house-prices.millrace", Size: 24}}}, list); diff != "" {
		t.Error(diff)
	}
	if list := decode[listed](t, get("?path=models/house-prices/3/MLmodel")); len(list.Files) != 0 {
		t.Error(list)
	}
	want := "flavors:\n  millrace:\n    bundle: house-prices.millrace\n    digest: sha256:" + fmt.Sprintf("%064d", 3) +
		"\n    model: house-prices\n    version: 3\nmodel_size_bytes: 24\nutc_time_created: '1970-01-01 00:00:03.000000'\n"
	if a := get("/models/house-prices/3/MLmodel"); a.body != want {
		t.Error(a.body)
	}
	if a := get("/models/house-prices/3/house-prices.millrace"); a.body != "bundle of house-prices@3" || a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Error(a)
	}
	for path, part := range map[string]string{
		"?path=":                                       "no \"\"",
		"?path=models":                                 "no \"models\"",
		"?path=models/house-prices/03":                 "no \"models",
		"?path=models/boats/1":                         "boats",
		"?path=models/house-prices/9":                  "no version 9",
		"/models/house-prices/3/other":                 "no file",
		"/models/house-prices/3/%2e%2e%2fetc":          "no \"models",
		"/models/house-prices/3/%2e%2e":                "no file",
		"/etc/passwd":                                  "no \"etc",
		"/models/house-prices/1/house-prices.millrace": "the bundle was removed",
	} {
		refused(t, path, get(path), Missing, part)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		refused(t, method, send(t, method, base+"/models/house-prices/3/MLmodel", "x", ""), PermissionDenied, "written once")
	}
	if a := send(t, http.MethodGet, strings.TrimSuffix(base, artifactsPrefix)+infoPath, "", ""); a.status != http.StatusOK || !strings.Contains(a.body, `"workspaces_enabled":false`) {
		t.Error(a)
	}
}

// TestFailures tells clients no more than they need of a registry that fails.
func TestFailures(t *testing.T) {
	t.Parallel()
	store := houses()
	base := serve(t, store)
	store.err = errors.New("open /srv/registry: permission denied")
	for _, a := range []answer{
		call(t, base, "GET registered-models/get?name=cars", ""), call(t, base, "GET registered-models/search", ""), call(t, base, "GET model-versions/search", ""),
		send(t, http.MethodGet, base+artifactsPrefix+"/models/cars/1/cars.millrace", "", ""),
	} {
		refused(t, "of the registry", a, Internal, "log of the server")
		if strings.Contains(a.body, "/srv") {
			t.Error(a.body)
		}
	}
	store.err = failed(Conflict, "try again")
	refused(t, "one for clients", call(t, base, "GET registered-models/get?name=cars", ""), Conflict, "try again")
}
