package remote

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestNewTransport(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	}))
	t.Cleanup(server.Close)
	rt, err := NewTransport(server.URL+"/prefix", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup((&http.Client{Transport: rt}).CloseIdleConnections)
	get := func(url string) (status int, err error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	if status, err := get(server.URL + "/prefix/file"); err != nil || status != http.StatusFound {
		t.Error(status, err)
	}
	for _, url := range []string{"http://127.0.0.1:1/", "http://localhost/", "https" + server.URL[len("http"):], "http://169.254.169.254/", "http://mlflow.example/"} {
		if _, err := get(url); !isForbidden(err) {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"http://169.254.169.254", "http://2130706433", "ftp://host", "http://u:p@host", "http://0x7f.1/"} {
		if _, err := NewTransport(url, time.Minute); !isForbidden(err) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func isForbidden(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Class == Forbidden
}
