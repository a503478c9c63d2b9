package auth

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"millrace.dev/internal/secret"
)

// Limits of a tokens file.
const (
	maxTokens     = 1000
	maxTokensFile = 1 << 20 // bytes
	maxName       = 63
)

// tokenPrefix stands before a token, so that what looks for secrets in texts finds it.
const tokenPrefix = "millrace_"

// tokenBytes is how many random bytes a token has: so many that their hash tells nothing of them.
const tokenBytes = 32

// token is a line of a tokens file.
type token struct {
	hash      [sha256.Size]byte
	principal *Principal
}

// tokens are the lines of a tokens file.
type tokens []token

// NewToken returns a new token for a principal, of random bytes, and its line for a tokens file, which has no more of it than its
// SHA-256. It fails for a name or a role that cannot stand there.
func NewToken(random io.Reader, name string, roles []Role) (token secret.Text, line string, err error) {
	if err := checkToken(name, roles); err != nil {
		return secret.Text{}, "", fmt.Errorf("auth: %w", err)
	}
	b := make([]byte, tokenBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return secret.Text{}, "", fmt.Errorf("auth: read random bytes: %w", err)
	}
	text := tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	hash := sha256.Sum256([]byte(text))
	return secret.New(text), name + " " + strings.Join(names, ",") + " " + hex.EncodeToString(hash[:]), nil
}

func checkToken(name string, roles []Role) error {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.@"
	if name == "" || len(name) > maxName || strings.Trim(name, letters) != "" {
		return fmt.Errorf("want a name of at most %d letters, digits and - _ . @", maxName)
	}
	if len(roles) == 0 {
		return errors.New("want at least one role")
	}
	for _, r := range roles {
		if !slices.Contains(Roles(), r) {
			return fmt.Errorf("there is no role %.40q: want %v", string(r), Roles())
		}
	}
	return nil
}

// readTokens reads a tokens file, which others must not be able to read, nor the group to write.
func readTokens(path string) (tokens, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := i.Mode().Perm(); mode&0o027 != 0 && runtime.GOOS != "windows" { // which has no such bits
		return nil, fmt.Errorf("%s: its mode is %#o, so that others can read or change it: chmod 600 it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokensFile+1))
	if err != nil {
		return nil, err
	}
	t, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// parseTokens reads the text of a tokens file: a line for each token, with a name, roles with commas between, and the SHA-256 of
// the token in hexadecimal digits. Empty lines, and what follows a #, say nothing. Several lines can have the same name: a token
// is replaced by adding a new one, and taking the old one out when nobody sends it any more. Errors show nothing but the place:
// somebody may have put a token in the place of its hash.
func parseTokens(text []byte) (tokens, error) {
	if len(text) > maxTokensFile {
		return nil, fmt.Errorf("is larger than %d bytes", maxTokensFile)
	}
	var all tokens
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: want a name, roles and the SHA-256 of a token, and not %d words", n, len(fields))
		}
		t, err := parseToken(fields[0], fields[1], fields[2])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if slices.ContainsFunc(all, func(other token) bool { return other.hash == t.hash }) {
			return nil, fmt.Errorf("line %d: an earlier line has the same token", n)
		}
		if all = append(all, t); len(all) > maxTokens {
			return nil, fmt.Errorf("has more than %d tokens", maxTokens)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

func parseToken(name, roles, hash string) (token, error) {
	t := token{principal: &Principal{Name: name}}
	for r := range strings.SplitSeq(roles, ",") {
		t.principal.Roles = append(t.principal.Roles, Role(r))
	}
	if err := checkToken(name, t.principal.Roles); err != nil {
		return token{}, err
	}
	b, err := hex.DecodeString(hash)
	if err != nil || len(b) != len(t.hash) {
		return token{}, errors.New("the third word is no SHA-256, 64 hexadecimal digits: millrace token new writes lines")
	}
	copy(t.hash[:], b)
	return t, nil
}

// find returns whose token text is, or nil. How long it takes does not depend on the tokens.
func (all tokens) find(text string) *Principal {
	hash := sha256.Sum256([]byte(text))
	var found *Principal
	for i := range all {
		if subtle.ConstantTimeCompare(hash[:], all[i].hash[:]) == 1 {
			found = all[i].principal
		}
	}
	return found
}
