package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func newTestKey(t *testing.T) *Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func claim() *Claim {
	return &Claim{
		Action: "approve", Model: "houses", Version: 3, Digest: "sha256:" + strings.Repeat("ab", 32), By: "Anna", Role: "data-scientist",
		Reason: "RMSE < 200,000 & \"ok\"", Seq: 7, Prev: "sha256:" + strings.Repeat("cd", 32), Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
}

func mustSign(t *testing.T, c *Claim, k *Key) *Envelope {
	t.Helper()
	e, err := c.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEncoding is the vector of protocol.md of DSSE.
func TestEncoding(t *testing.T) {
	t.Parallel()
	if got := string(encoding("http://example.com/HelloWorld", []byte("hello world"))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Error(got)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	k, dir := newTestKey(t), t.TempDir()
	text, err := k.PEM()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	back, err := ReadKey(path)
	if err != nil || !back.Public().Equal(k.Public()) {
		t.Fatal(back, err)
	}
	public, err := ParsePublicKey(k.Public().PEM())
	if err != nil || public.ID() != k.Public().ID() {
		t.Error(public, err)
	}
	if runtime.GOOS != "windows" {
		for _, perm := range []os.FileMode{0o640, 0o604, 0o602, 0o660} {
			if err := os.Chmod(path, perm); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadKey(path); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "others than its owner") {
				t.Errorf("%v: %v", perm, err)
			}
		}
	}
	if _, err := ReadKey(dir); !errors.Is(err, ErrInvalid) {
		t.Error("a folder:", err)
	}
	if _, err := ReadKey(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestWhatIsNoKey(t *testing.T) {
	t.Parallel()
	k := newTestKey(t)
	private, err := k.PEM()
	if err != nil {
		t.Fatal(err)
	}
	rsa := "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALPH1MOVO6aJrOtTtaGnJZ0cFh1s6hVc\nyhxmK9xm2mRk0Sq6V2dVrUNV1lYEoVQKp7wXY1bIf+lPY/3mDPqkvT0CAwEAAQ==\n-----END PUBLIC KEY-----\n"
	for name, text := range map[string]string{
		"nothing": "", "text": "hello", "the private key": string(private), "a broken one": strings.Replace(string(k.Public().PEM()), "MCow", "MCox", 1),
		"one of RSA": rsa, "a large file": strings.Repeat("x", maxKeyFile+1),
	} {
		if _, err := ParsePublicKey([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("public key: %s: %v", name, err)
		}
	}
	for name, text := range map[string]string{"nothing": "", "the public key": string(k.Public().PEM()), "a broken one": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := ParseKey([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("private key: %s: %v", name, err)
		}
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	k, other := newTestKey(t), newTestKey(t)
	e := mustSign(t, claim(), k)
	if err := claim().Check(e, k.Public()); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Claim)
		want   string
	}{
		"model":   {func(c *Claim) { c.Model = "flats" }, `another model: "houses", not "flats"`},
		"version": {func(c *Claim) { c.Version = 4 }, `another version: "3", not "4"`},
		"digest":  {func(c *Claim) { c.Digest = "sha256:" + strings.Repeat("ee", 32) }, "another digest"},
		"action":  {func(c *Claim) { c.Action = "reject" }, `another action: "approve", not "reject"`},
		"by":      {func(c *Claim) { c.By = "Eve" }, `another name: "Anna", not "Eve"`},
		"role":    {func(c *Claim) { c.Role = "risk" }, "another role"},
		"reason":  {func(c *Claim) { c.Reason = "because" }, "another reason"},
		"group":   {func(c *Claim) { c.Group = "g" }, "another group"},
		"bytes":   {func(c *Claim) { c.Bytes = 1 }, "another size"},
		"seq":     {func(c *Claim) { c.Seq = 8 }, `another place in the log: "7", not "8"`},
		"prev":    {func(c *Claim) { c.Prev = "" }, "another event before it"},
		"time":    {func(c *Claim) { c.Time = c.Time.Add(1) }, "another time"},
	} {
		c := claim()
		tc.change(c)
		if err := c.Check(e, k.Public()); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if err := claim().Check(e, other.Public()); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "the signature is not one of the key") {
		t.Error(err)
	}
	two := mustSign(t, claim(), k)
	two.add(other)
	if err := claim().Check(two, k.Public()); !errors.Is(err, ErrUntrusted) {
		t.Error("two signatures:", err)
	}
	if err := claim().Check(nil, k.Public()); !errors.Is(err, ErrUntrusted) {
		t.Error("no envelope:", err)
	}
	for name, payload := range map[string]string{
		"no JSON": "{", "another statement": `{"_type":"https://in-toto.io/Statement/v0.1","subject":[],"predicateType":"` + claimType + `","predicate":{}}`,
		"more than a statement": string(e.Payload) + "{}",
		"another subject":       strings.Replace(string(e.Payload), `"name":"houses@3"`, `"name":"houses@4"`, 1),
		"an unknown key":        strings.Replace(string(e.Payload), `"seq":7`, `"seq":7,"also":1`, 1),
	} {
		if err := claim().Check(seal(statementPayload, []byte(payload), k), k.Public()); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := claim().Check(seal("text/plain", e.Payload, k), k.Public()); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "of the type") {
		t.Error(err)
	}
}

// TestEveryFlippedBitOfAnEnvelope holds that no bit of what is signed, nor of the signature, can change.
func TestEveryFlippedBitOfAnEnvelope(t *testing.T) {
	t.Parallel()
	k := newTestKey(t)
	e := mustSign(t, claim(), k)
	for _, part := range [][]byte{e.Payload, e.Signatures[0].Sig} {
		for i := range part {
			part[i] ^= 1 << (i % 8)
			if err := claim().Check(e, k.Public()); !errors.Is(err, ErrUntrusted) {
				t.Fatalf("byte %d: %v", i, err)
			}
			part[i] ^= 1 << (i % 8)
		}
	}
	if err := claim().Check(e, k.Public()); err != nil {
		t.Error(err)
	}
}

// TestTheFormStays holds that signatures of before stay good, and that they are made as before: ed25519 has no randomness.
func TestTheFormStays(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	k, err := newKey(public, private)
	if err != nil {
		t.Fatal(err)
	}
	var before Envelope
	text, err := os.ReadFile(filepath.Join("testdata", "envelope.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &before); err != nil {
		t.Fatal(err)
	}
	if err := claim().Check(&before, k.Public()); err != nil {
		t.Error(err)
	}
	if now, err := json.Marshal(mustSign(t, claim(), k)); err != nil || string(now)+"\n" != string(text) {
		t.Errorf("%v: it is signed as %s", err, now)
	}
	root, err := ReadRoot(filepath.Join("testdata", "root.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Check(); err != nil || !root.RootKeys[0].Equal(k.Public()) || root.People[0].Until.Seq != 41 {
		t.Errorf("%+v %v", root, err)
	}
}

// TestOthersVerify has an envelope verified by OpenSSL, and by Python where it has a library for that, from its JSON alone.
func TestOthersVerify(t *testing.T) {
	t.Parallel()
	k, dir := newTestKey(t), t.TempDir()
	text, err := json.Marshal(mustSign(t, claim(), k))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pub, envelope := file("a.pub", k.Public().PEM()), file("envelope.json", text)
	t.Run("openssl", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("openssl"); err != nil {
			t.Skip("there is no openssl")
		}
		var e Envelope
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		signed := file("signed", append([]byte("DSSEv1 28 application/vnd.in-toto+json "+strconv.Itoa(len(e.Payload))+" "), e.Payload...))
		verify := func(sig []byte) error {
			return exec.CommandContext(t.Context(), "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pub, "-rawin", "-in", signed, "-sigfile", file("sig", sig)).Run()
		}
		if err := verify(e.Signatures[0].Sig); err != nil {
			t.Error(err)
		}
		bad := bytes.Clone(e.Signatures[0].Sig)
		bad[0] ^= 1
		if verify(bad) == nil {
			t.Error("openssl verifies anything")
		}
	})
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		python, err := exec.LookPath("python3")
		if err != nil || exec.CommandContext(t.Context(), python, "-c", "import cryptography").Run() != nil {
			t.Skip("there is no python3 with cryptography")
		}
		out, err := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "verify.py"), envelope, pub).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "houses@3 approve Anna "+k.Public().ID() {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func FuzzParseRoot(f *testing.F) {
	f.Add([]byte(`{"type":"https://millrace.dev/registry/root/v1","version":1}`))
	f.Add([]byte(`{"payloadType":"application/vnd.millrace.root+json","payload":"e30=","signatures":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := ParseRoot(text); err == nil {
			if err := r.Validate(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Errorf("an error of no kind: %v", err)
		}
	})
}
