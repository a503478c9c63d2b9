package query

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
)

// HeaderForwarded is the header of a request that an instance passes on: who gets it answers for itself alone. Its value is the
// name of that instance.
const HeaderForwarded = "Millrace-Forwarded-By"

// HeaderApplication is the header that says of which application such a request is: an address may be another's by now.
const HeaderApplication = "Millrace-Application"

// peers are the instances of the application, as the group knows them.
type peers struct {
	engine *engine.Engine
	client *http.Client
	turn   chan struct{} // holds a token when nobody uses what follows
	known  *group
}

// group is what the group was at a time.
type group struct {
	members []kafka.GroupMember
	stable  bool // else they are those from when it was
	at      time.Time
}

// How old what is known of the group may be, where nothing speaks against it, and where something does.
const (
	groupAge  = time.Second
	groupSoon = 100 * time.Millisecond
)

// ParseAddress reads the address of an instance.
func ParseAddress(text string) (*url.URL, error) {
	if len(text) > kafka.MaxAddress {
		return nil, fmt.Errorf("want a URL of at most %d bytes", kafka.MaxAddress)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want a URL, such as http://10.1.2.3:8090")
	}
	return u, nil
}

// NewTransport returns how instances are reached: with the authorities of the file ca ("" is those of the system), and with
// the certificate of the files cert and key ("" is none), which are read again for each connection. It fails where a file
// cannot be read, and with [ErrNoCertificate].
func NewTransport(ca, cert, key string) (*http.Transport, error) {
	t := &http.Transport{
		DialContext: (&net.Dialer{Timeout: dialTime}).DialContext, TLSHandshakeTimeout: dialTime, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}
	if cert != "" {
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key) // which may have changed
			return &pair, err
		}
	}
	if ca == "" {
		return t, nil
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
		return nil, ErrNoCertificate
	}
	return t, nil
}

// dialTime is how long a connection, and its encryption, may take to come about.
const dialTime = 10 * time.Second

// ErrNoCertificate means that a file should have certificates of authorities.
var ErrNoCertificate = errors.New("it holds no certificate in PEM")

func newPeers(e *engine.Engine, t http.RoundTripper) peers {
	if t == nil {
		t, _ = NewTransport("", "", "") // which reads no file
	}
	p := peers{engine: e, turn: make(chan struct{}, 1), client: &http.Client{
		Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.turn <- struct{}{}
	return p
}

// group returns what the group is, not longer ago than age.
func (p *peers) group(ctx context.Context, age time.Duration) (g *group, err error) {
	defer func() {
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("the brokers do not answer in time")
		}
	}()
	select {
	case <-p.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { p.turn <- struct{}{} }()
	if p.known != nil && time.Since(p.known.at) < age {
		return p.known, nil
	}
	members, stable, err := p.engine.Members(ctx)
	if err != nil {
		return nil, err
	}
	g = &group{members, stable, time.Now()}
	if !stable && p.known != nil { // brokers do not tell of members that are changing: most partitions stay where they are
		g.members = p.known.members
	}
	p.known = g
	return g, nil
}

// nameOf returns the name that a member has given itself, else its id.
func nameOf(m *kafka.GroupMember) string {
	if m.Instance != "" {
		return m.Instance
	}
	return m.ID
}

// everywhere reads partitions wherever they are.
func (a *API) everywhere(ctx context.Context, r *http.Request, q *ask) (*result, error) {
	res, err := a.here(ctx, q, q.partitions)
	if err != nil {
		return nil, err
	}
	end, _ := ctx.Deadline() // which there is: see answer
	asking, cancel := context.WithDeadline(ctx, end.Add(-a.timeout/peersLeave))
	defer cancel()
	for _, age := range []time.Duration{groupAge, groupSoon} {
		if len(res.missing) == 0 || age == groupSoon && asking.Err() != nil {
			break
		}
		if err := a.elsewhere(ctx, asking, r, q, res, age); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// peersLeave is which part of the time of an answer others do not get: who asks hears of one that is silent before they give up.
const peersLeave = 4

// elsewhere reads what is missing where the group says that it is. asking is how long the group and others may be asked.
func (a *API) elsewhere(ctx, asking context.Context, r *http.Request, q *ask, res *result, age time.Duration) error {
	var mine []int32
	there := map[string][]int32{} // by address
	missing := res.missing
	res.missing = nil
	g, err := a.peers.group(asking, age)
	if err != nil {
		for i := range missing {
			missing[i].Reason = "who has it cannot be told: " + err.Error()
		}
		res.missing = missing
		return nil // it is told with what is missing
	}
	for _, m := range missing {
		owner := a.engine.Owner(task.ID{Sub: q.store.sub, Partition: m.Partition}, g.members)
		switch {
		case owner == nil && g.stable:
			m.Reason = "no instance has it"
		case owner == nil:
			m.Reason = "the group shares the partitions out anew"
		case owner.ID == a.engine.Member():
			mine = append(mine, m.Partition)
			continue
		case owner.Address == "":
			m.Reason = "instance " + nameOf(owner) + " has it, and does not say where it can be asked"
		default:
			there[owner.Address] = append(there[owner.Address], m.Partition)
			continue
		}
		res.missing = append(res.missing, m)
	}
	if len(mine) > 0 { // it may have come meanwhile
		found, err := a.here(ctx, q, mine)
		if err != nil {
			return err
		}
		res.add(found)
	}
	var all sync.WaitGroup
	var lock sync.Mutex
	for address, partitions := range there {
		all.Go(func() {
			found := a.forward(asking, r, q, address, partitions)
			lock.Lock()
			defer lock.Unlock()
			res.add(found)
		})
	}
	all.Wait()
	return nil
}

// forward asks another instance for partitions.
func (a *API) forward(ctx context.Context, r *http.Request, q *ask, address string, partitions []int32) *result {
	found, err := a.askPeer(ctx, r, q, address, partitions)
	if err == nil {
		return found
	}
	res := &result{}
	for _, p := range partitions {
		id := task.ID{Sub: q.store.sub, Partition: p}
		res.missing = append(res.missing, Missing{Partition: p, Task: id.String(), Reason: fmt.Sprintf("the instance at %s: %v", address, err)})
	}
	return res
}

func (a *API) askPeer(ctx context.Context, r *http.Request, q *ask, address string, partitions []int32) (*result, error) {
	u, err := ParseAddress(address)
	if err != nil {
		return nil, errors.New("what it says of itself is no address")
	}
	u = u.JoinPath("v1", "stores", url.PathEscape(q.store.spec.Name), "rows")
	v := url.Values{}
	for name, values := range r.URL.Query() { // which was looked at
		if name != paramStart && name != paramPartition {
			v[name] = values
		}
	}
	if q.store.windows() && r.URL.Query().Has(paramStart) { // the row of one window
		v.Set(paramStartFrom, strconv.FormatInt(q.low, 10))
		v.Set(paramStartTo, strconv.FormatInt(q.high, 10))
	}
	list := make([]string, len(partitions))
	for i, p := range partitions {
		list[i] = strconv.Itoa(int(p))
	}
	v.Set(paramPartition, strings.Join(list, ","))
	u.RawQuery = v.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("what it says of itself is no address")
	}
	if u.Scheme == "http" && r.TLS != nil && r.Header.Get("Authorization") != "" {
		return nil, errors.New("the token came over TLS and is not sent there without: its query.advertise has to begin with https://")
	}
	req.Header.Set(HeaderForwarded, a.engine.Instance())
	req.Header.Set(HeaderApplication, a.program.Name)
	for _, name := range []string{"Authorization", "X-Request-Id"} {
		if value := r.Header.Get(name); value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := a.peers.client.Do(req)
	if err != nil {
		return nil, silence(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	return decodePeer(resp, q, partitions)
}
