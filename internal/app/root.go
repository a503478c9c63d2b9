package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/internal/durable"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/trust"
)

// The ends of the names of key files.
const (
	privateKeyFile = ".key"
	publicKeyFile  = ".pub"
)

// KeyFiles are those of a new key.
type KeyFiles struct {
	Private, Public string // paths
	Key             trust.PublicKey
}

// NewKey makes a key and writes its two files, which must not be there: NAME.key, which only its owner can read, and
// NAME.pub.
func NewKey(name string) (*KeyFiles, error) {
	k, err := trust.NewKey()
	if err != nil {
		return nil, err
	}
	text, err := k.PEM()
	if err != nil {
		return nil, err
	}
	f := &KeyFiles{Private: name + privateKeyFile, Public: name + publicKeyFile, Key: k.Public()}
	if _, err := os.Lstat(f.Public); err == nil {
		return nil, fileError("make key", f.Public, fs.ErrExist, "choose another name: a key that was replaced cannot be had back")
	}
	if err := writeNew(f.Private, text, 0o600); err != nil {
		return nil, err
	}
	return f, writeNew(f.Public, k.Public().PEM(), 0o644)
}

func writeNew(path string, text []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return fileError("make key", path, err, "choose another name: a key that was replaced cannot be had back")
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadPublicKey reads the file of a public key, or that of a private key for its public one.
func ReadPublicKey(path string) (trust.PublicKey, error) {
	if strings.HasSuffix(path, privateKeyFile) {
		k, err := ReadKey(path)
		if err != nil {
			return trust.PublicKey{}, err
		}
		return k.Public(), nil
	}
	k, err := trust.ReadPublicKey(path)
	if err != nil {
		return k, fileError("read public key", path, err, "")
	}
	return k, nil
}

// RootOptions say what a new root document says.
type RootOptions struct {
	Out       string   // the file
	From      string   // the version before it; "" is none
	RootKeys  []string // files of public keys
	Threshold int
	People    []string // NAME=FILE.pub:role,role
	Remove    []string // names
	Approvals []string // ROLE=COUNT
	Promote   []string // roles
	// AuthorMayApprove and UnsignedBundles are as the policy has them; nil leaves what was.
	AuthorMayApprove, UnsignedBundles *bool
}

// NewRoot writes a root document that nobody has signed yet.
func NewRoot(o RootOptions) (*trust.SignedRoot, error) {
	root := trust.NewRoot()
	if o.From != "" {
		before, err := trust.ReadRoot(o.From)
		if err != nil {
			return nil, fileError("read root document", o.From, err, "")
		}
		root = before.Next()
	}
	if err := o.fill(root); err != nil {
		return nil, &Error{Code: Usage, Op: "root new", Err: err}
	}
	text, err := root.Encode()
	if err != nil {
		return nil, err
	}
	signed, err := trust.ParseRoot(text)
	if err != nil {
		return nil, &Error{Code: Usage, Op: "root new", Err: err}
	}
	if _, err := os.Lstat(o.Out); err == nil {
		return nil, fileError("root new", o.Out, fs.ErrExist, "name a file that is not there yet")
	}
	return signed, durable.Replace(durable.OS(), o.Out, text, 0o644)
}

func (o *RootOptions) fill(r *trust.Root) error {
	if len(o.RootKeys) > 0 {
		r.RootKeys = nil
	}
	for _, path := range o.RootKeys {
		k, err := ReadPublicKey(path)
		if err != nil {
			return err
		}
		r.RootKeys = append(r.RootKeys, k)
	}
	if o.Threshold > 0 || r.Threshold == 0 {
		r.Threshold = max(o.Threshold, 1)
	}
	for _, name := range o.Remove {
		n := len(r.People)
		r.People = slices.DeleteFunc(slices.Clone(r.People), func(p trust.Person) bool { return p.Name == name })
		if len(r.People) == n {
			return fmt.Errorf("--remove: there is no %s", name)
		}
	}
	for _, text := range o.People {
		p, err := person(text)
		if err != nil {
			return err
		}
		r.People = append(r.People, p)
	}
	if o.AuthorMayApprove != nil {
		r.Policy.AuthorMayApprove = *o.AuthorMayApprove
	}
	if o.UnsignedBundles != nil {
		r.Policy.SignedBundles = !*o.UnsignedBundles
	}
	if len(o.Promote) > 0 {
		r.Policy.Promotions = o.Promote
	}
	if len(o.Approvals) > 0 {
		r.Policy.Approvals = nil
	}
	for _, text := range o.Approvals {
		role, n, ok := strings.Cut(text, "=")
		count, err := strconv.Atoi(n)
		if !ok || err != nil {
			return fmt.Errorf("--approvals %q: want ROLE=COUNT", text)
		}
		r.Policy.Approvals = append(r.Policy.Approvals, trust.Approvals{Role: role, Count: count})
	}
	return nil
}

// person reads NAME=FILE.pub:role,role.
func person(text string) (trust.Person, error) {
	name, rest, ok := strings.Cut(text, "=")
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return trust.Person{}, fmt.Errorf("--person %q: want NAME=FILE.pub:ROLE,ROLE", text)
	}
	k, err := ReadPublicKey(rest[:i])
	if err != nil {
		return trust.Person{}, err
	}
	return trust.Person{Name: name, Key: k, Roles: strings.Split(rest[i+1:], ",")}, nil
}

// ReadRoot reads a root document, signed or not.
func ReadRoot(path string) (*trust.SignedRoot, error) {
	r, err := trust.ReadRoot(path)
	if err != nil {
		return nil, fileError("read root document", path, err, "")
	}
	return r, nil
}

// SignRoot adds a signature to the file of a root document. before is the file of the version before it, for a key that is
// a root key of that alone; "" is none.
func (a *App) SignRoot(path, before string) (*trust.SignedRoot, error) {
	r, err := ReadRoot(path)
	if err != nil {
		return nil, err
	}
	var prev *trust.SignedRoot
	if before != "" {
		if prev, err = ReadRoot(before); err != nil {
			return nil, err
		}
	}
	k, err := a.key()
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, &Error{Code: Usage, Op: "root sign", Err: errors.New("there is no key"), Hint: "name the file of a root key: --key FILE"}
	}
	if err := r.Sign(k, prev); err != nil {
		return nil, &Error{Code: Usage, Op: "root sign", Where: path, Err: err}
	}
	text, err := r.EncodeSigned()
	if err != nil {
		return nil, err
	}
	return r, durable.Replace(durable.OS(), path, text, 0o644)
}

// PublishedRoot is what publishing a root document has changed.
type PublishedRoot struct {
	Root *trust.SignedRoot
	Dir  string // the registry's folder
	Lost []registry.Version
	// Trusted tells whether the pipeline file, or --root, names a root document; without, nothing demands signatures.
	Trusted bool
}

// PublishRoot writes a root document into the log of a registry, which it opens with the one that is trusted there, or else
// with the document itself.
func (a *App) PublishRoot(ctx context.Context, path, by string, o ModelsOptions) (*PublishedRoot, error) {
	root, err := ReadRoot(path)
	if err != nil {
		return nil, err
	}
	where, _, err := a.where(o)
	if err != nil {
		return nil, err
	}
	p := &PublishedRoot{Root: root, Dir: where.Registry, Trusted: where.Root != ""}
	if !p.Trusted {
		where.Root = path
	}
	reg, err := a.Registry(where)
	if err != nil {
		return nil, err
	}
	before, err := reg.List(ctx)
	if err != nil {
		return nil, err
	}
	if err := reg.PublishRoot(ctx, root, a.actor(by)); err != nil {
		return nil, err
	}
	after, err := reg.List(ctx)
	if err != nil {
		return nil, err
	}
	for i, v := range before {
		if v.State == registry.StateApproved && after[i].State != v.State {
			p.Lost = append(p.Lost, after[i])
		}
	}
	return p, nil
}
