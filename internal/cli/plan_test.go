package cli

import (
	"testing"

	"millrace.dev/internal/config"
	"millrace.dev/internal/remote"
)

func TestModelText(t *testing.T) {
	t.Parallel()
	server := config.RemoteModel{URL: "http://127.0.0.1:8080", Protocol: remote.OIP}
	with := func(what config.OnRemoteFailure, fallback string) *config.RemoteModel {
		s := server
		s.OnFailure, s.Fallback = what, fallback
		return &s
	}
	const asks = "the champion of models; the server http://127.0.0.1:8080 (oip) predicts, and without its answer "
	for _, c := range []struct {
		serve *config.RemoteModel
		want  string
	}{
		{nil, "the champion of models"},
		{with(config.PauseOnFailure, ""), asks + "records wait"},
		{with(config.DeadLetterOnFailure, ""), asks + "records are dead letters"},
		{with(config.FallbackOnFailure, "houses@3"), asks + "houses@3 predicts"},
	} {
		if got := modelText(&config.Model{Registry: "models", Serve: c.serve}); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
