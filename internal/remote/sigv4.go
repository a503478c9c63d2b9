package remote

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/secret"
)

// credentials are those of a caller of AWS.
type credentials struct {
	id      string
	key     secret.Text
	session secret.Text // of credentials that end, or empty
}

// sign signs a request as AWS has it, Signature Version 4: with the headers that say who is called, what is sent and when. The query is
// taken to be empty. The path is encoded again, as all services but S3 have it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func (c *credentials) sign(req *http.Request, body []byte, region, service string, now time.Time) {
	at := now.UTC().Format("20060102T150405Z")
	day := at[:8]
	req.Header.Set("X-Amz-Date", at)
	if !c.session.IsZero() {
		req.Header.Set("X-Amz-Security-Token", c.session.Reveal())
	}
	names, lines := canonicalHeaders(req)
	canonical := strings.Join([]string{
		req.Method, awsEscape(req.URL.EscapedPath()), "", lines, names, hash(body),
	}, "\n")
	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", at, scope, hash([]byte(canonical))}, "\n")
	key := []byte("AWS4" + c.key.Reveal())
	for _, part := range []string{day, region, service, "aws4_request"} {
		key = mac(key, part)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.id+"/"+scope+
		", SignedHeaders="+names+", Signature="+hex.EncodeToString(mac(key, text)))
}

// canonicalHeaders returns the names of the headers that are signed, and a line for each of them. What a proxy may change, or our own
// transport adds, is not signed.
func canonicalHeaders(req *http.Request) (names, lines string) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	values := map[string]string{"host": host}
	for name, all := range req.Header {
		switch name {
		case "Authorization", "User-Agent", "Idempotency-Key", "Traceparent", "Tracestate":
			continue
		}
		plain := make([]string, len(all))
		for i, v := range all {
			plain[i] = strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' }), " ")
		}
		values[strings.ToLower(name)] = strings.Join(plain, ",")
	}
	sorted := make([]string, 0, len(values))
	for name := range values {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	var b strings.Builder
	for _, name := range sorted {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	return strings.Join(sorted, ";"), b.String()
}

// awsEscape encodes all bytes of a path but those that RFC 3986 does not reserve, and slashes.
func awsEscape(path string) string {
	const hexUpper = "0123456789ABCDEF"
	if path == "" {
		return "/"
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexUpper[c>>4], hexUpper[c&15]})
		}
	}
	return b.String()
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
