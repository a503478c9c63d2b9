package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"millrace.dev/internal/api"
	"millrace.dev/internal/serve"
)

// TestStatusHides answers a client without what an error says of the registry or of the inside of the server.
func TestStatusHides(t *testing.T) {
	t.Parallel()
	inside := errors.New("/var/lib/millrace/models/events/7.json is damaged")
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{&serve.LoadError{Ref: "houses@2", Err: inside}, http.StatusServiceUnavailable, "houses@2 cannot be loaded"},
		{fmt.Errorf("serve: %w", &serve.LoadError{Ref: "houses@2", Err: inside}), http.StatusServiceUnavailable, "houses@2 cannot be loaded"},
		{inside, http.StatusInternalServerError, "the server has failed"},
	} {
		status, text := api.Status(c.err)
		if status != c.status || !strings.Contains(text, c.text) || strings.Contains(text, "/var") {
			t.Errorf("%v: %d %q, want %d %q", c.err, status, text, c.status, c.text)
		}
	}
}
