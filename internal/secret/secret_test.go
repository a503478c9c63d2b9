package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	type login struct {
		Username string
		Password Text
	}
	s := login{Username: "me", Password: New("hunter2")}
	var shown bytes.Buffer
	for _, verb := range "vsqxXdtbocUeEfFgG" {
		fmt.Fprintf(&shown, "%"+string(verb)+" %#"+string(verb)+" %+"+string(verb)+"\n", s.Password, s, &s)
	}
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", slog.Any("login", s), slog.Any("password", s.Password))
	if err := json.NewEncoder(&shown).Encode(map[string]Text{"password": s.Password}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"hunter2", "68756e74657232", "68756E74657232", "104 117"} {
		if strings.Contains(shown.String(), form) {
			t.Errorf("the password is shown as %q", form)
		}
	}
}
