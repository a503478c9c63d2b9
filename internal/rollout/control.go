package rollout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Key is the key of the records of the control topic that this package is about. No pipeline has such a name.
const Key = "/deployment"

// The versions of the form of controls and statuses. A control with a split has a version of its own: who does not know of splits must not
// take it for the deployment of one model.
const (
	version      = 1
	versionSplit = 2
)

// mostEpoch is the highest epoch: the last whole number up to which all can be read exactly by whoever takes a number of JSON for a
// float64, which is milliseconds for more than 200,000 years.
const mostEpoch = 1 << 53

// mostBytes is how large a record of either topic may be: they hold a few lines.
const mostBytes = 256 << 10

// Deployment is a model that a pipeline is to run, or several, each for a part of the records.
type Deployment struct {
	Epoch int64 `json:"epoch"` // the deployments of a group have rising ones
	// Model, NAME@VERSION, and Digest are what all records are predicted with; with a split they are the control arm's.
	Model  string `json:"model"`
	Digest string `json:"digest"`
	Split  *Split `json:"split,omitempty"` // nil is none
	By     string `json:"by"`
	Reason string `json:"reason"`
	At     int64  `json:"at"` // milliseconds since 1970
}

// Is tells whether d is the deployment o.
func (d *Deployment) Is(o *Deployment) bool {
	return d == o || d != nil && o != nil && d.Epoch == o.Epoch && d.Digest == o.Digest
}

// Control is what the instances of a pipeline are to do.
type Control struct {
	Version int `json:"version"`
	// Current is what they are to run; nil is Before, and without that what the registry calls the champion.
	Current *Deployment `json:"current"`
	// Next is what they are to make ready; nil is nothing.
	Next *Deployment `json:"next"`
	// Before is the champion, NAME@VERSION, when the first promotion of the group began: instances that start run it until one has come
	// to its end, whatever the registry has noted by then, as the others do. "" where there is a current deployment, or was no champion.
	Before string `json:"before,omitempty"`
	// Turns are the instances that may go over to Current; nil is all. It is for rolling updates.
	Turns []string `json:"turns,omitempty"`
	// Beat is when whoever watches a canary wrote it last, in milliseconds since 1970; 0 is that nobody does.
	Beat int64 `json:"beat,omitempty"`
}

// ErrInvalid means that a record is not one of this package's.
var ErrInvalid = errors.New("invalid record")

// ErrNewer means that a later version of millrace has written a record. It matches [ErrInvalid] too.
var ErrNewer = fmt.Errorf("%w: of a later version of millrace", ErrInvalid)

// DecodeControl reads the value of a record of the control topic; a nil one is the control that says nothing. An error
// matches [ErrInvalid], or [ErrNewer].
func DecodeControl(value []byte) (*Control, error) {
	c := &Control{}
	if value == nil {
		return c, nil
	}
	if err := decode(value, versionSplit, c); err != nil {
		return nil, err
	}
	for _, d := range []*Deployment{c.Current, c.Next} {
		if d == nil {
			continue
		}
		if d.Epoch <= 0 || d.Epoch > mostEpoch || d.Model == "" || !strings.HasPrefix(d.Digest, "sha256:") {
			return nil, fmt.Errorf("%w: a deployment has no epoch that can be, no model or no digest", ErrInvalid)
		}
		if s := d.Split; s != nil {
			if err := s.Validate(); err != nil {
				return nil, err
			}
			if a := &s.Arms[0]; a.Model != d.Model || a.Digest != d.Digest {
				return nil, fmt.Errorf("%w: the control of a split is not the model of its deployment", ErrInvalid)
			}
		}
	}
	return c, nil
}

// Encode returns the value of a record of the control topic.
func (c *Control) Encode() ([]byte, error) {
	c.Version = version
	for _, d := range []*Deployment{c.Current, c.Next} {
		if d != nil && d.Split != nil {
			c.Version = versionSplit
		}
	}
	return json.Marshal(c)
}

// decode reads a record of a version up to newest.
func decode(value []byte, newest int, to any) error {
	if len(value) > mostBytes {
		return fmt.Errorf("%w: it has %d bytes", ErrInvalid, len(value))
	}
	var of struct {
		Version int `json:"version"`
	}
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(&of); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if of.Version > newest { // the rest may be otherwise too
		return fmt.Errorf("%w: it is of version %d, this one reads version %d", ErrNewer, of.Version, newest)
	}
	if of.Version < version {
		return fmt.Errorf("%w: it has no version", ErrInvalid)
	}
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(to); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Prepare returns the control in which d is the next deployment, with an epoch above all that c names and above seen, which is the
// highest that instances may have used: where a control topic was deleted nothing else tells. It is the time, where that is higher.
// champion is what the registry calls so, "" being none. Whose turn it is stays. An error matches [ErrInvalid]: no epoch is left.
func (c *Control) Prepare(d Deployment, champion string, seen int64, now time.Time) (*Control, error) {
	highest := max(c.highest(), seen)
	if highest >= mostEpoch {
		return nil, fmt.Errorf("%w: epoch %d is the last one, and none can follow it", ErrInvalid, highest)
	}
	d.At = now.UnixMilli()
	d.Epoch = max(d.At, highest+1)
	next := &Control{Current: c.Current, Next: &d, Before: c.Before, Turns: c.Turns}
	if c.Current == nil && c.Before == "" {
		next.Before = champion
	}
	return next, nil
}

// Switch returns the control in which the next deployment is the current one, for the instances in turns alone, nil being all.
func (c *Control) Switch(turns []string) *Control {
	if c.Next == nil {
		return &Control{Current: c.Current, Before: c.Before, Turns: turns}
	}
	return &Control{Current: c.Next, Turns: turns}
}

// Abort returns the control without a next deployment.
func (c *Control) Abort() *Control {
	return &Control{Current: c.Current, Before: c.Before, Turns: c.Turns}
}

func (c *Control) highest() int64 {
	var n int64
	for _, d := range []*Deployment{c.Current, c.Next} {
		if d != nil {
			n = max(n, d.Epoch)
		}
	}
	return n
}
