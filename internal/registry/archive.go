package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"millrace.dev/model"
)

// The files of an archive, in their order; between them are the events, by the names that they have in the registry.
const (
	archiveHead   = "millrace-model.json"
	archiveBundle = "bundle" + model.Extension
)

const (
	archiveFormat    = 1
	maxArchiveHead   = 4 << 10
	maxArchiveEvents = 1000
	maxArchiveBundle = model.DefaultMaxBytes
)

// Exported is what the head of an archive says.
type Exported struct {
	// Format is the version of the form of archives.
	Format int `json:"format"`
	// Model and Version name the version as its registry does.
	Model   string `json:"model"`
	Version int    `json:"version"`
	// Digest is the digest of the bundle, and Bytes its size.
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
	// Events counts the events about the version.
	Events int `json:"events"`
}

// Ref returns the name of the version in its registry, such as "house-prices@3".
func (x *Exported) Ref() string { return fmt.Sprintf("%s@%d", x.Model, x.Version) }

// Export writes a version to w, with the events about it as they are in the log, signatures included: a tar archive
// whose bytes depend on the version and its events alone. docs/formats/registry.md describes it. Arguments and errors
// are those of [Registry.Resolve] and [Registry.Load], and those of w.
func (r *Registry) Export(ctx context.Context, ref, defaultModel string, w io.Writer) (Version, error) {
	v, events, err := r.Show(ctx, ref, defaultModel)
	if err != nil {
		return Version{}, err
	}
	data, err := r.Load(ctx, v)
	if err != nil {
		return Version{}, err
	}
	events = slices.DeleteFunc(events, func(e Event) bool { return e.Action == Noted }) // they are of the registry, and there may be many
	if len(events) > maxArchiveEvents {
		return Version{}, fmt.Errorf("registry: %w: %d events are about %s, an archive holds %d", ErrInvalid, len(events), v.Ref(), maxArchiveEvents)
	}
	head, err := json.Marshal(Exported{Format: archiveFormat, Model: v.Model, Version: v.Number, Digest: v.Digest, Bytes: v.Bytes, Events: len(events)})
	if err != nil {
		return Version{}, err
	}
	a := tar.NewWriter(w)
	err = addFile(a, archiveHead, append(head, '\n'))
	for _, e := range events {
		if err == nil {
			var file []byte
			if file, err = r.eventFile(ctx, e); err == nil {
				err = addFile(a, eventName(e.Seq), file)
			}
		}
	}
	if err == nil {
		err = addFile(a, archiveBundle, data)
	}
	if err == nil {
		err = a.Close()
	}
	if err != nil {
		return Version{}, fmt.Errorf("registry: export %s: %w", v.Ref(), err)
	}
	return v, nil
}

// eventFile returns the bytes of an event that has been read before.
func (r *Registry) eventFile(ctx context.Context, e Event) ([]byte, error) {
	data, err := r.store.Read(ctx, eventName(e.Seq), maxEvent)
	if err != nil {
		return nil, err
	}
	if now, err := decodeEvent(data); err != nil || now.Sum != e.Sum {
		return nil, fmt.Errorf("%w: %s has been replaced since it was read", ErrCorrupt, r.store.event(e.Seq))
	}
	return data, nil
}

func addFile(a *tar.Writer, name string, data []byte) error {
	err := a.WriteHeader(&tar.Header{Name: name, Mode: 0o444, Size: int64(len(data)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
	if err == nil {
		_, err = a.Write(data)
	}
	return err
}

// Import registers the bundle of an archive that [Registry.Export] wrote, or a bare bundle, on behalf of by. It becomes
// a candidate: what another registry decided does not count here, but the reason of the register event tells it. If the
// model has these bytes already, it is as with [Registry.Register]. Every byte of r is checked before anything is
// written; an error matches [ErrArchive], or those of [Registry.Register].
func (r *Registry) Import(ctx context.Context, from io.Reader, by string) (Version, error) {
	peek := make([]byte, 512) // the header of a tar archive's first file
	n, err := io.ReadFull(from, peek)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	from = io.MultiReader(bytes.NewReader(peek[:n]), from)
	if !isArchive(peek[:n]) {
		data, err := io.ReadAll(io.LimitReader(from, maxArchiveBundle+1))
		if err != nil {
			return Version{}, fmt.Errorf("registry: %w", err)
		}
		return r.ImportBundle(ctx, data, "a file", by)
	}
	x, events, data, err := readArchive(from)
	if err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	if b, err := model.Decode(data); err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	} else if b.Manifest.Name != x.Model {
		return Version{}, fmt.Errorf("registry: %w: it says %s, and its bundle is of the model %s", ErrArchive, x.Ref(), b.Manifest.Name)
	}
	return r.register(ctx, data, by, provenance(x, events))
}

// ImportBundle registers a bundle that was found elsewhere, on behalf of by. It becomes a candidate, and the reason of the register event
// says where it was: one line of text, such as the address of a server without a password. Errors are those of [Registry.Register].
func (r *Registry) ImportBundle(ctx context.Context, data []byte, where, by string) (Version, error) {
	return r.register(ctx, data, by, "imported from "+where)
}

func isArchive(head []byte) bool { return len(head) >= 262 && string(head[257:262]) == "ustar" }

// readArchive reads an archive to its end, and wants its parts to fit one another.
func readArchive(from io.Reader) (x Exported, events []*Event, data []byte, err error) {
	bad := func(format string, args ...any) error {
		return withHint(fmt.Errorf("%w: %w", ErrArchive, fmt.Errorf(format, args...)), "export it again: millrace model export MODEL --out FILE")
	}
	a := tar.NewReader(from)
	head, err := nextFile(a, archiveHead, maxArchiveHead)
	if err != nil {
		return x, nil, nil, bad("%w", err)
	}
	if err := json.Unmarshal(head, &x); err != nil {
		return x, nil, nil, bad("%s: %w", archiveHead, err)
	}
	if x.Format > archiveFormat {
		return x, nil, nil, fmt.Errorf("%w: the archive has format %d, this millrace reads format %d: use a later millrace", ErrNewer, x.Format, archiveFormat)
	}
	if x.Format < 1 || model.CheckName(x.Model) != nil || x.Version < 1 || !validDigest(x.Digest) || x.Bytes < 1 || x.Bytes > maxArchiveBundle || x.Events < 1 || x.Events > maxArchiveEvents {
		return x, nil, nil, bad("%s names no version, no bundle or too many events", archiveHead)
	}
	for range x.Events {
		file, err := nextFile(a, "", maxEvent)
		if err != nil {
			return x, nil, nil, bad("%w", err)
		}
		e, err := decodeEvent(file)
		if err != nil {
			return x, nil, nil, bad("event %d of %d: %w", len(events)+1, x.Events, err)
		}
		if e.Digest != x.Digest || e.Action != Purged && (e.Model != x.Model || e.Version != x.Version) || len(events) == 0 && (e.Action != Registered || e.Bytes != x.Bytes) {
			return x, nil, nil, bad("event %d of %d is about something else", len(events)+1, x.Events)
		}
		if !isClean(e.Actor, maxActor) || e.Reason != "" && !isClean(e.Reason, maxReason) || !isClean(string(e.Action), maxActor) {
			return x, nil, nil, bad("event %d of %d holds what cannot be shown", len(events)+1, x.Events)
		}
		events = append(events, e)
	}
	if data, err = nextFile(a, archiveBundle, x.Bytes); err != nil {
		return x, nil, nil, bad("%w", err)
	}
	if int64(len(data)) != x.Bytes || model.Digest(data) != x.Digest {
		return x, nil, nil, bad("the bundle is not the one of %s", x.Ref())
	}
	if _, err := a.Next(); !errors.Is(err, io.EOF) || !onlyZeros(from) {
		return x, nil, nil, bad("something follows the bundle")
	}
	return x, events, data, nil
}

// onlyZeros reads to the end, and tells whether there is nothing but a little padding.
func onlyZeros(from io.Reader) bool {
	const most = 1 << 20
	rest, err := io.ReadAll(io.LimitReader(from, most+1))
	return err == nil && len(rest) <= most && len(bytes.Trim(rest, "\x00")) == 0
}

// nextFile reads the next file of an archive, which is called name unless that is "", and has at most limit bytes.
func nextFile(a *tar.Reader, name string, limit int64) ([]byte, error) {
	h, err := a.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("it was cut off")
	case err != nil:
		return nil, err
	case h.Typeflag != tar.TypeReg || name != "" && h.Name != name || name == "" && !strings.HasPrefix(h.Name, eventsDir+"/"):
		return nil, fmt.Errorf("it holds %.80q where something else is expected", h.Name)
	case h.Size > limit:
		return nil, fmt.Errorf("%.80s has %d bytes, the limit is %d", h.Name, h.Size, limit)
	}
	var b bytes.Buffer // which grows with what is there, not with what the header says
	if _, err := io.Copy(&b, io.LimitReader(a, limit)); err != nil {
		return nil, fmt.Errorf("%s: it was cut off", h.Name)
	}
	return b.Bytes(), nil
}

// provenance tells what another registry has said about a version. The first and the last events are those that count
// where there is no room for all.
func provenance(x Exported, events []*Event) string {
	said := func(e *Event) string {
		s := fmt.Sprintf("; %s by %s %s", e.Action, e.Actor, e.Time.UTC().Format(time.DateOnly))
		if e.Reason != "" {
			s += " (" + e.Reason + ")"
		}
		return s
	}
	text := fmt.Sprintf("imported, %s elsewhere", x.Ref()) + said(events[0])
	var rest []string
	room := maxReason - len(text) - len("; ... 1000 more")
	left := len(events) - 1
	for ; left > 0; left-- {
		s := said(events[left])
		if room -= len(s); room < 0 {
			break
		}
		rest = append(rest, s)
	}
	if left > 0 {
		text += fmt.Sprintf("; ... %d more", left)
	}
	slices.Reverse(rest)
	text += strings.Join(rest, "")
	for len(text) > maxReason || !utf8.ValidString(text) { // a first event with a long reason
		text = text[:min(len(text)-1, maxReason)]
	}
	return strings.TrimSpace(text)
}
