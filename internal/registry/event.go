package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"millrace.dev/internal/trust"
)

// Action is what an event does.
type Action string

// The actions.
const (
	Registered Action = "register"
	Approved   Action = "approve"
	Rejected   Action = "reject"
	Promoted   Action = "promote"  // it is the one to run from now on
	RolledBack Action = "rollback" // the same, of one that was before
	Retired    Action = "retire"   // it is not to run any more
	Tried      Action = "trial"    // it predicts a share of the records, or does so no more
	RootSet    Action = "root"     // of no model: a version of the document that says who may decide
	Purged     Action = "purge"    // its bundle is removed
	Noted      Action = "note"     // something is put beside it, or taken away, that decides nothing
)

const (
	eventFormat = 2        // in format 1 each approval also promotes
	trialFormat = 3        // of events with a trial, and of no others: who knows of none must not pass over it
	noteFormat  = 4        // of events with a note, and of no others
	maxEvent    = 64 << 10 // bytes of an event's file
	maxActor    = 200      // bytes
	maxReason   = 4000     // bytes
)

// Event is one entry of the audit log.
type Event struct {
	// Format is the version of the form of events.
	Format int `json:"format"`
	// Seq numbers the events from 1, without a gap.
	Seq int `json:"seq"`
	// Prev is the Sum of the event before; "" for the first.
	Prev string `json:"prev"`
	// Time is when the writer's clock said it happened, in UTC.
	Time time.Time `json:"time"`
	// Actor is who did it.
	Actor string `json:"actor"`
	// Action is what was done.
	Action Action `json:"action"`
	// Model and Version name what it was done to. They are "" and 0 in a purge event of a bundle that no version has; of a root
	// event, Model is "" and Version that of the document; Version is 0 in a note of the model itself.
	Model   string `json:"model"`
	Version int    `json:"version"`
	// Digest is the digest of the version's bundle, of the root document, or of a note that is about no version; Bytes is the size of the bundle, in a register
	// event only.
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes,omitempty"`
	// Reason says why; in a register event where the bundle comes from, "" if it was made here.
	Reason string `json:"reason,omitempty"`
	// Group is the consumer group that was told to run the version; of a promotion, a rollback or a trial, "" if none was.
	Group string `json:"group,omitempty"`
	// Gates are the outcomes of the gates that the version met in training; of a register event, none if there were none.
	Gates []Gate `json:"gates,omitempty"`
	// Trial is what has happened to a trial of the version; of a trial event, and of a promotion that ends one.
	Trial *Trial `json:"trial,omitempty"`
	// Note is what is noted; of a note event.
	Note *Note `json:"note,omitempty"`
	// Role is the role that Actor acted in; of a signed approval, else "".
	Role string `json:"role,omitempty"`
	// Envelope holds Actor's signature over all of the above, or the root document with its signatures; nil where nothing
	// is signed.
	Envelope *trust.Envelope `json:"envelope,omitempty"`
	// Sum is "sha256:" and the SHA-256, in hex, of the bytes of the event's file before `,"sum":`.
	Sum string `json:"-"`
}

// Ref returns the name of the version that the event is about, such as "house-prices@3", that of the model if it is about none, or "-".
func (e *Event) Ref() string {
	if e.Model == "" {
		return "-"
	}
	if e.Version == 0 {
		return e.Model
	}
	return fmt.Sprintf("%s@%d", e.Model, e.Version)
}

// The end of an event's file.
const (
	sumPrefix = `,"sum":"`
	sumSuffix = "\"}\n"
	sumSize   = len(sumPrefix) + len("sha256:") + 2*sha256.Size + len(sumSuffix)
)

// encode sets e.Sum and returns the content of the event's file.
func (e *Event) encode() ([]byte, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	if err := w.Encode(e); err != nil {
		return nil, err
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("}\n"))
	e.Sum = fmt.Sprintf("sha256:%x", sha256.Sum256(body))
	if n := len(body) + sumSize; n > maxEvent {
		return nil, fmt.Errorf("%w: the event would have %d bytes, the limit is %d", ErrInvalid, n, maxEvent)
	}
	return append(body, sumPrefix+e.Sum+sumSuffix...), nil
}

// decodeEvent reads the content of an event's file; its sum is verified before anything is parsed.
func decodeEvent(data []byte) (*Event, error) {
	if len(data) < sumSize || len(data) > maxEvent {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrCorrupt, len(data))
	}
	body, end := data[:len(data)-sumSize], string(data[len(data)-sumSize:])
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(body))
	if end != sumPrefix+sum+sumSuffix {
		return nil, fmt.Errorf("%w: its sum does not match its content", ErrCorrupt)
	}
	var head struct {
		Format int `json:"format"`
	}
	text := append(bytes.Clone(body), '}')
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if head.Format > noteFormat {
		return nil, fmt.Errorf("%w: it has format %d, this millrace reads format %d: use a later millrace", ErrNewer, head.Format, noteFormat)
	}
	e := &Event{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	e.Sum = sum
	return e, nil
}

// cleanText returns s without white space around it. It wants text that is not empty, at most limit bytes long
// and fit to be shown on a terminal: one line, no control characters and none that reverse the direction.
func cleanText(what, s string, limit int) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", fmt.Errorf("%w: the %s is empty", ErrInvalid, what)
	case len(s) > limit:
		return "", fmt.Errorf("%w: the %s has %d bytes, the limit is %d", ErrInvalid, what, len(s), limit)
	case !utf8.ValidString(s):
		return "", fmt.Errorf("%w: the %s is not UTF-8", ErrInvalid, what)
	}
	for _, c := range s {
		const nonJoiner, joiner = '\u200c', '\u200d' // some scripts need them
		if !unicode.IsGraphic(c) && c != nonJoiner && c != joiner {
			return "", fmt.Errorf("%w: the %s holds the character %U: use one line of plain text", ErrInvalid, what, c)
		}
	}
	return s, nil
}

// isClean tells whether s is what [cleanText] returns.
func isClean(s string, limit int) bool {
	c, err := cleanText("", s, limit)
	return err == nil && c == s
}
