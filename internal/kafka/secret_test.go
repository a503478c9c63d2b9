package kafka

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
	s := SASL{Mechanism: MechanismPlain, Username: "me", Password: "hunter2"}
	var shown bytes.Buffer
	for _, verb := range "vsqxXdtbocUeEfFgG" {
		fmt.Fprintf(&shown, "%"+string(verb)+" %#"+string(verb)+" %+"+string(verb)+"\n", s.Password, s, &s)
	}
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", slog.Any("sasl", s), slog.Any("password", s.Password))
	if err := json.NewEncoder(&shown).Encode(map[string]Secret{"password": s.Password}); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"hunter2", "68756e74657232", "68756E74657232", "104 117"} {
		if strings.Contains(shown.String(), form) {
			t.Errorf("the password is shown as %q", form)
		}
	}
}
