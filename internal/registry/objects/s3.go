package objects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	tries     = 4                      // of one request
	firstWait = 100 * time.Millisecond // before the second try; doubled for each after it
	patience  = 5 * time.Second        // after which a request that failed is not tried a third time
	maxNames  = 4 << 20                // of one list: a server that never ends must not fill the memory
	// markerName is the object by which the store finds out whether the server refuses to overwrite.
	markerName    = "millrace-registry"
	markerContent = "This bucket holds a model registry of millrace. The file stays as it is.\n"
)

// bucket is a store in a bucket. It asks the server to write each object on condition that there is none of that name.
type bucket struct {
	client *minio.Client
	addr   Address
	server string        // the endpoint that counts
	date   *atomic.Int64 // what the server's clock said last, in seconds of Unix time
	// pause waits between two tries.
	pause func(context.Context, time.Duration) error

	mu       sync.Mutex
	verified bool // the server refuses to overwrite
}

// openS3 returns the store in the bucket at a, with the credentials of the environment.
func openS3(a Address) (Store, error) {
	providers := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	if inCloud(os.Getenv) {
		providers = append(providers, &credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second}})
	}
	server, err := a.server(os.Getenv)
	if err != nil {
		return nil, err
	}
	return newBucket(a, server, credentials.NewChainCredentials(providers), newTransport(patient()))
}

// inCloud tells whether the environment says that a service of the machine hands out credentials. Without such a word
// it is not asked: elsewhere its address leads nowhere, and it takes long to find that out.
func inCloud(env func(string) string) bool {
	return slices.ContainsFunc([]string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	}, func(name string) bool { return env(name) != "" })
}

func newBucket(a Address, server string, creds *credentials.Credentials, transport http.RoundTripper) (*bucket, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err // it was checked
	}
	region := a.Region
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region == "" {
			region = os.Getenv(name)
		}
	}
	date := &atomic.Int64{}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "https", Region: region, Transport: &dated{transport, date},
		MaxRetries: 1, // whether a write may be tried again is decided here
	})
	if err != nil {
		return nil, setupError(addressForm, "%s: %w", server, err)
	}
	return &bucket{client: client, addr: a, server: server, date: date, pause: pause}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *bucket) Location() string { return b.addr.String() }

func (b *bucket) Name(name string) string { return "s3://" + b.addr.Bucket + "/" + b.key(name) }

func (b *bucket) key(name string) string { return b.addr.Prefix + name }

func (b *bucket) Create(ctx context.Context, name string, data []byte) error {
	if err := b.verify(ctx); err != nil {
		return err
	}
	return b.create(ctx, name, data)
}

// verify wants the server to refuse to overwrite an object: on one that ignores the condition two writers would each
// believe that they have won. It asks once.
func (b *bucket) verify(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 2 { // the first may be the one that creates it
		if b.verified {
			return nil
		}
		err := b.retry(ctx, func(ctx context.Context) error { return b.put(ctx, markerName, []byte(markerContent)) })
		switch codeOf(err) {
		case "":
			if err != nil {
				return err
			}
		case codeTaken:
			b.verified = true
		case "NotImplemented", "InvalidArgument":
			return b.noCondition()
		default:
			return err
		}
	}
	if b.verified {
		return nil
	}
	return b.noCondition()
}

func (b *bucket) noCondition() error {
	return setupError("use a server that honours If-None-Match on PutObject (Amazon S3, MinIO, Ceph, versitygw do), or a folder",
		"%s overwrites objects although it is asked not to: two writers at once would lose what one of them wrote", b.server)
}

// create writes an object. After a failure whose outcome is not known, what is there now tells: an answer may get lost
// on its way back, and the next try then finds what the one before it has written.
func (b *bucket) create(ctx context.Context, name string, data []byte) error {
	began := time.Now()
	for n := 0; ; n++ {
		err := b.put(ctx, name, data)
		if err == nil {
			return nil
		}
		if c := codeOf(err); c != codeTaken && c != codeConflict && !retriable(err) {
			return b.explain(err)
		}
		got, readErr := b.Read(ctx, name, int64(len(data)))
		switch {
		case readErr == nil && bytes.Equal(got, data):
			return nil
		case readErr == nil:
			return &fs.PathError{Op: "create", Path: b.Name(name), Err: fs.ErrExist}
		case !errors.Is(readErr, fs.ErrNotExist):
			return readErr
		}
		if enough(n+1, began) {
			return b.explain(err)
		}
		if err := b.pause(ctx, firstWait<<n); err != nil {
			return err
		}
	}
}

// enough tells whether a request has been tried often enough. Once is not: a connection that was idle may lead nowhere any more, and it
// takes longer than the patience to find that out.
func enough(n int, began time.Time) bool {
	return n == tries || n > 1 && time.Since(began) > patience
}

// put asks once for an object to be written, unless there is one of that name.
func (b *bucket) put(ctx context.Context, name string, data []byte) error {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true} // of chunks: that of the whole is sent
	if strings.HasSuffix(name, ".json") {
		o.ContentType = "application/json"
	}
	o.SetMatchETagExcept("*")
	core := minio.Core{Client: b.client}
	sum := sha256.Sum256(data) // which the server verifies
	_, err := core.PutObject(ctx, b.addr.Bucket, b.key(name), bytes.NewReader(data), int64(len(data)), "", hex.EncodeToString(sum[:]), o)
	return err
}

// retry calls op until it succeeds, fails for good, or has failed often enough.
func (b *bucket) retry(ctx context.Context, op func(context.Context) error) error {
	began := time.Now()
	for n := 0; ; n++ {
		err := op(ctx)
		if err == nil {
			return nil
		}
		if enough(n+1, began) || !retriable(err) {
			return b.explain(err)
		}
		if err := b.pause(ctx, firstWait<<n); err != nil {
			return err
		}
	}
}

func (b *bucket) Read(ctx context.Context, name string, limit int64) (data []byte, err error) {
	err = b.retry(ctx, func(ctx context.Context) error {
		core := minio.Core{Client: b.client}
		r, _, _, err := core.GetObject(ctx, b.addr.Bucket, b.key(name), minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		data, err = io.ReadAll(io.LimitReader(r, limit+1))
		_ = r.Close() // everything that counts has been read
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fs.PathError{Op: "read", Path: b.Name(name), Err: fs.ErrNotExist}
	}
	return data, err
}

func (b *bucket) Stat(ctx context.Context, name string) (i Info, err error) {
	err = b.retry(ctx, func(ctx context.Context) error {
		o, err := b.client.StatObject(ctx, b.addr.Bucket, b.key(name), minio.StatObjectOptions{})
		i = Info{Size: o.Size, Modified: o.LastModified}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = &fs.PathError{Op: "stat", Path: b.Name(name), Err: fs.ErrNotExist}
	}
	return i, err
}

func (b *bucket) List(ctx context.Context, under, after string) (names []string, err error) {
	o := minio.ListObjectsOptions{Prefix: b.key(under) + "/", Recursive: true}
	if after != "" {
		o.StartAfter = b.key(after)
	}
	err = b.retry(ctx, func(ctx context.Context) error {
		if len(names) > 0 { // a list of many pages goes on where it was broken off
			o.StartAfter = b.key(names[len(names)-1])
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the request where the loop ends early
		for i := range b.client.ListObjectsIter(ctx, b.addr.Bucket, o) {
			if i.Err != nil {
				return i.Err
			}
			name, ok := strings.CutPrefix(i.Key, b.addr.Prefix)
			if !ok || name <= after {
				continue
			}
			if n := len(names); n > 0 && name <= names[n-1] {
				return setupError("use another server, or a bucket of another kind", "%s lists names out of their order: %q after %q", b.server, name, names[n-1])
			}
			names = append(names, name)
			if len(names) > maxNames {
				return setupError("give the registry a prefix of its own", "%s holds more than %d objects", b.Name(under), maxNames)
			}
		}
		return ctx.Err()
	})
	return names, err
}

func (b *bucket) Remove(ctx context.Context, name string) error {
	return b.retry(ctx, func(ctx context.Context) error {
		return b.client.RemoveObject(ctx, b.addr.Bucket, b.key(name), minio.RemoveObjectOptions{})
	})
}

// Now returns what the server's clock says in the head of an answer.
func (b *bucket) Now(ctx context.Context) (time.Time, error) {
	b.date.Store(0)
	if _, err := b.Stat(ctx, markerName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, err
	}
	if s := b.date.Load(); s != 0 {
		return time.Unix(s, 0), nil
	}
	return time.Time{}, setupError("use a server that says what time it is", "%s sends no date with its answers", b.server)
}

// Clean does nothing: a server has no use for half an object.
func (b *bucket) Clean(context.Context, time.Duration, bool) (int, error) { return 0, nil }
