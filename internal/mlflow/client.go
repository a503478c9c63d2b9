package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"millrace.dev/internal/secret"
)

// ClientOptions are the options of [NewClient].
type ClientOptions struct {
	URL string // of the server: see [Reference]
	// Transport makes the requests. It is where addresses are checked; redirects are followed by nobody.
	Transport http.RoundTripper
	// Who asks: User and Password, or else Token; all may be empty. They are sent to the host of URL alone, and unencrypted only to this
	// machine.
	User            string
	Password, Token secret.Text
	// Timeout is how long one request may take, to the last byte of its answer. Default: 10 min
	Timeout time.Duration
}

// Client reads the registry of an MLflow server. It is safe for concurrent use.
type Client struct {
	base *url.URL
	http *http.Client
	o    ClientOptions
}

const (
	defaultTimeout = 10 * time.Minute
	maxAnswer      = 1 << 20   // bytes of a JSON answer
	maxFile        = 256 << 20 // bytes of a model's file
)

// Errors of [Client.Fetch], to be told apart with [errors.Is]. Beside them there are [*FlavorError], and [*Error] for what the server says.
var (
	// ErrUnreachable means that the server did not answer, or not to the end: a retry may help.
	ErrUnreachable = errors.New("the server does not answer")
	// ErrAnswer means that the server answers with what no MLflow server does, or with more than is read.
	ErrAnswer = errors.New("not an answer of an MLflow server")
	// ErrElsewhere means that the files of a model are where the server does not pass them on from.
	ErrElsewhere = errors.New("the server does not pass on the files of the model")
)

// NewClient returns a client. It makes no connection.
func NewClient(o ClientOptions) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.User != nil || o.Transport == nil {
		return nil, errors.New("mlflow: the address of the server is none")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if (o.User != "" || !o.Password.IsZero() || !o.Token.IsZero()) && u.Scheme != "https" && !local(u.Hostname()) {
		return nil, fmt.Errorf("mlflow: a token or a password is not sent to %s unencrypted", u.Host)
	}
	for _, c := range []byte(o.User + o.Token.Reveal()) {
		if c < ' ' || c >= 0x7f {
			return nil, errors.New("mlflow: the user or the token has a character that none has")
		}
	}
	return &Client{base: u, o: o, http: &http.Client{
		Transport: o.Transport, Timeout: o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// local tells whether a host is this machine.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Fetched is a version of a model of an MLflow server, with the file that holds it.
type Fetched struct {
	Server  string // its host
	Model   string
	Version int
	Run     string // of MLflow that made it; "" is not known
	Flavor  string // [Flavor], [LightGBM] or [XGBoost]
	File    string // the name of the file
	Data    []byte // its content, which nobody has looked into yet
}

// Ref says where a version comes from, such as mlflow://HOST/house-prices/3.
func (f *Fetched) Ref() string {
	return fmt.Sprintf("%s%s/%s/%d", schemeHTTP, f.Server, f.Model, f.Version)
}

// Fetch finds a version and fetches its file. Two files are read at most, MLmodel and the one that it names, both into memory: no
// path of the server's is ever one of this machine.
func (c *Client) Fetch(ctx context.Context, r Reference) (*Fetched, error) {
	v, err := c.find(ctx, r)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(v.Version)
	if err != nil || number < 1 || v.Name != r.Model {
		return nil, fmt.Errorf("%w: it names another model, or no version", ErrAnswer)
	}
	root, err := c.root(ctx, v)
	if err != nil {
		return nil, err
	}
	text, err := c.get(ctx, artifactsPrefix+"/"+escaped(root+"/"+modelFile), nil, maxMLmodel)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", modelFile, err)
	}
	kinds, err := parseMLmodel(text)
	if err != nil {
		return nil, err
	}
	flavor, file, err := kinds.file()
	if err != nil {
		return nil, err
	}
	data, err := c.get(ctx, artifactsPrefix+"/"+escaped(root+"/"+file), nil, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f := &Fetched{Server: c.base.Host, Model: v.Name, Version: number, Flavor: flavor, File: path.Base(file), Data: data}
	if plainName(v.Run) {
		f.Run = v.Run
	}
	return f, nil
}

// find returns the version that is meant.
func (c *Client) find(ctx context.Context, r Reference) (*wireVersion, error) {
	var one versionAnswer
	switch {
	case r.Alias != "":
		err := c.call(ctx, "registered-models/alias", url.Values{"name": {r.Model}, "alias": {r.Alias}}, &one)
		return &one.Version, err
	case r.Version > 0:
		err := c.call(ctx, "model-versions/get", url.Values{"name": {r.Model}, "version": {strconv.Itoa(r.Version)}}, &one)
		return &one.Version, err
	}
	var list versionsAnswer
	query := url.Values{"filter": {"name='" + r.Model + "'"}, "order_by": {"version_number DESC"}, "max_results": {"1"}}
	if err := c.call(ctx, "model-versions/search", query, &list); err != nil {
		return nil, err
	}
	if len(list.Versions) == 0 {
		return nil, failed(Missing, "the server has no version of a model %q", r.Model)
	}
	return &list.Versions[0], nil
}

// root returns the path on the server below which the files of a version are.
func (c *Client) root(ctx context.Context, v *wireVersion) (string, error) {
	var a struct {
		URI string `json:"artifact_uri"`
	}
	if err := c.call(ctx, "model-versions/get-download-uri", url.Values{"name": {v.Name}, "version": {v.Version}}, &a); err != nil {
		return "", err
	}
	u, err := url.Parse(a.URI)
	if err != nil || len(a.URI) > maxReference {
		return "", fmt.Errorf("%w: it does not say where the files are", ErrAnswer)
	}
	if u.Scheme != "mlflow-artifacts" || u.Host != "" && u.Host != c.base.Host || u.User != nil {
		return "", fmt.Errorf("%w: they are in %.20q", ErrElsewhere, u.Scheme+":")
	}
	root := strings.Trim(u.Path, "/")
	if !cleanPath(root) {
		return "", fmt.Errorf("%w: the path of the files is not one", ErrAnswer)
	}
	return root, nil
}

// call makes a call of the registry's, and reads the answer into v.
func (c *Client) call(ctx context.Context, name string, query url.Values, v any) error {
	text, err := c.get(ctx, registryPrefix+name, query, maxAnswer)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%w: %s is answered with what is not JSON, or other JSON", ErrAnswer, name)
	}
	return nil
}

// get returns what is below a path of the server, of at most limit bytes.
func (c *Client) get(ctx context.Context, path string, query url.Values, limit int64) ([]byte, error) {
	target := c.base.Scheme + "://" + c.base.Host + c.base.EscapedPath() + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: a path of it cannot be asked for", ErrAnswer)
	}
	req.Header.Set("User-Agent", "millrace")
	switch {
	case c.o.User != "" || !c.o.Password.IsZero():
		req.SetBasicAuth(c.o.User, c.o.Password.Reveal())
	case !c.o.Token.IsZero():
		req.Header.Set("Authorization", "Bearer "+c.o.Token.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which says nothing that the caller does not know
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer resp.Body.Close() //nolint:errcheck // what was read is checked, and nothing was written
	if resp.StatusCode != http.StatusOK {
		return nil, c.refused(resp)
	}
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrAnswer, resp.ContentLength, limit)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w to the end", ErrUnreachable)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrAnswer, limit)
	}
	return data, nil
}

// refused returns the error that an answer is.
func (c *Client) refused(resp *http.Response) error {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return fmt.Errorf("%w: it answers %d, and redirects are not followed", ErrAnswer, resp.StatusCode)
	}
	var said struct {
		Code    Code   `json:"error_code"`
		Message string `json:"message"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil || json.Unmarshal(text, &said) != nil || said.Code == "" {
		said.Code, said.Message = CodeOf(resp.StatusCode), ""
	}
	e := failed(Code(shown(string(said.Code))), "the server answers %d", resp.StatusCode)
	if said.Message != "" {
		e.Message += ": " + shown(said.Message)
	}
	if e.Code.Status() >= http.StatusInternalServerError && resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%w: %w", ErrUnreachable, e)
	}
	return e
}

// shown returns the beginning of what a server says, fit for a terminal.
func shown(s string) string {
	const most = 300
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsGraphic(c):
			return -1
		}
		return c
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// escaped returns a path as it is written in a URL.
func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }
