package mlflow

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzFilter reads any filter, and compares with what a slow matcher says of LIKE.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"name = 'cars'", "name LIKE 'house%' AND tags.`the key` != 'it''s'", "tag.`mlflow.prompt.is_prompt` != 'true'", "name NOT IN ('a', \"b\")",
		"version_number >= 3 and creation_timestamp<5", "name ILIKE '%_%\\'", "tags.\"a.b/c\"='x'", "name = 'cars", "name IN (", "AND", "name='a'AND name='b'",
	} {
		f.Add(s)
	}
	store := houses()
	f.Fuzz(func(t *testing.T, s string) {
		for _, known := range []attributes{modelAttributes(), versionAttributes()} {
			got, err := parseFilter(s, known)
			if err != nil {
				if asError(err).Code != InvalidParameter || !utf8.ValidString(err.Error()) {
					t.Fatalf("%v", err)
				}
				continue
			}
			if len(got) > maxClauses {
				t.Fatalf("%d conditions", len(got))
			}
			for _, c := range got {
				if c.op != "LIKE" || len(c.texts[0]) > 12 {
					continue
				}
				for _, text := range []string{"house-prices", "cars", "pricing", ""} {
					if fast, slow := like(text, c.texts[0]), slowLike([]rune(text), []rune(c.texts[0])); fast != slow {
						t.Fatalf("%q LIKE %q: %t, want %t", text, c.texts[0], fast, slow)
					}
				}
			}
			for i := range store.models {
				m := &store.models[i]
				got.fits(item{m, &m.Versions[0]}, known)
			}
		}
	})
}

// slowLike is LIKE by its definition.
func slowLike(s, p []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == '%':
		return slowLike(s, p[1:]) || len(s) > 0 && slowLike(s[1:], p)
	}
	return len(s) > 0 && (p[0] == '_' || p[0] == s[0]) && slowLike(s[1:], p[1:])
}

// FuzzRequest sends any query and any body to every route of the registry's: each is answered with JSON, and changes nothing but what
// tags, descriptions and aliases may.
func FuzzRequest(f *testing.F) {
	f.Add(uint8(0), "name=house-prices&version=3&alias=champion", `{"name":"house-prices","version":"3","key":"a","value":"b","alias":"eu"}`)
	f.Add(uint8(1), "filter=name%3D%27x%27&max_results=1&order_by=name+DESC&page_token=eyJvIjoxfQ", `{"name":"cars","description":"d"}`)
	f.Add(uint8(2), "path=models/cars/1&stages=None&stages=Archived", `{"name":"cars","stages":["None"]}`)
	f.Add(uint8(17), "%zz&;=", `{"name":null,"version":1e9}`)
	store := houses()
	s, err := New(Options{Store: store})
	if err != nil {
		f.Fatal(err)
	}
	mux := http.NewServeMux()
	routes := s.Routes()
	for _, r := range routes {
		mux.Handle(r.Method+" "+r.Path, r.Handler)
	}
	f.Fuzz(func(t *testing.T, route uint8, query, body string) {
		r := routes[int(route)%len(routes)]
		req := &http.Request{
			Method: r.Method, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody,
			URL: &url.URL{Path: strings.NewReplacer("{call...}", "runs/get", "{path...}", "models/cars/1/MLmodel").Replace(r.Path), RawQuery: query},
		}
		if r.Method != http.MethodGet {
			req = httptest.NewRequestWithContext(t.Context(), r.Method, req.URL.Path, strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, req)
		if w.Code >= http.StatusInternalServerError || !utf8.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s?%s %q: %d %s", r.Method, r.Path, query, body, w.Code, w.Body)
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		for _, c := range store.changes {
			if !slices.Contains([]ChangeKind{ChangeTag, ChangeAlias, ChangeDescription}, c.Kind) || c.Kind == ChangeAlias && derived(c.Key) ||
				c.Kind == ChangeTag && strings.HasPrefix(c.Key, derivedTag) {
				t.Fatalf("%+v", c)
			}
		}
		store.changes = nil
	})
}

// FuzzToken takes no token but those that it gives.
func FuzzToken(f *testing.F) {
	q := query("models", &request{})
	f.Add(token{100, q}.encode())
	f.Add("")
	f.Add("eyJvIjoxMDAsInEiOiJ4In0")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseToken(s, q)
		if err == nil && s != "" && (token{n, q}).encode() != s || n < 0 {
			t.Fatalf("%q: %d", s, n)
		}
	})
}

// FuzzPath finds no file but those of versions.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"models/house-prices/3/MLmodel", "/models/cars/1/", "models/../3", "models/cars/+1", "models/cars/1/../../etc/passwd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, version, file, err := parsePath(s)
		if err == nil && (version < 1 || strings.Contains(name, "/") || strings.Contains(file, "/")) {
			t.Fatalf("%q: %q %d %q", s, name, version, file)
		}
	})
}

// FuzzReference reads what people write, and never repeats a password.
func FuzzReference(f *testing.F) {
	for _, s := range []string{"mlflow://host:5000/houses/3", "mlflow+https://[::1]/a%20b@champion", "models:/houses@eu", "mlflow://u:sesame@host/houses"} {
		f.Add(s, "https://mlflow.example/x")
	}
	f.Fuzz(func(t *testing.T, s, tracking string) {
		r, err := ParseReference(s, tracking)
		if err != nil {
			return
		}
		u, err := url.Parse(r.URL)
		if err != nil || u.User != nil || u.RawQuery != "" || !plainName(r.Model) || r.Version < 0 || r.Version > 0 && r.Alias != "" {
			t.Fatalf("%q, %q: %+v", s, tracking, r)
		}
	})
}

// FuzzMLmodel reads any file that a server sends, and leads to no path but one below its root.
func FuzzMLmodel(f *testing.F) {
	m := &houses().models[1]
	f.Add(m.mlmodel(&m.Versions[2]))
	f.Add([]byte("flavors:\n  lightgbm:\n    data: model.lgb\n    code: null\n  python_function: {env: {conda: conda.yaml}}\n"))
	f.Add([]byte("x: &a [*a]\nflavors: {xgboost: {data: ../m.ubj}, sklearn: {pickled_model: m.pkl}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		kinds, err := parseMLmodel(data)
		if err != nil {
			return
		}
		if flavor, file, err := kinds.file(); err == nil && (!cleanPath(file) || strings.Contains("/"+file+"/", "/../") || kinds[flavor] == nil) {
			t.Fatalf("%q: %q", data, file)
		}
	})
}
