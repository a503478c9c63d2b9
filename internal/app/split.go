package app

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/codec"
	"millrace.dev/internal/assign"
	"millrace.dev/internal/config"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
	"millrace.dev/stream"
)

var errNoKeyField = errors.New("the pipeline file has no field by which the experiment divides records")

// The headers of a prediction, and of a dead letter, of an experiment.
const (
	headerExperiment = "millrace.experiment"
	headerArm        = "millrace.arm"
	headerBaseline   = "millrace.baseline" // what the control's model says of a record of another arm; NaN where it refuses it
	headerForced     = "millrace.forced"   // the record has named its arm, and does not count
	headerRefused    = "millrace.refused"  // why the arm's model has no prediction, so that the control's stands here
)

// split says to which arms the records of a batch go. It is safe for concurrent use.
type split struct {
	of         *rollout.Split
	slots      *[assign.Slots]uint8
	partitions map[int32]int
	schema     *record.Schema // of the field that is the key; nil: the message's key is
	maxBytes   int
	idle       sync.Pool // of *division
}

// newSplit returns the split of a deployment. It has been validated.
func newSplit(p *config.Pipeline, of *rollout.Split) (*split, error) {
	s := &split{of: of, maxBytes: p.Source.MaxRecordBytes, partitions: map[int32]int{}}
	var err error
	if of.By == rollout.ByKey {
		if s.slots, err = of.Allocation().Table(); err != nil {
			return nil, err
		}
	}
	for i := range of.Arms {
		for _, n := range of.Arms[i].Partitions {
			s.partitions[n] = i
		}
	}
	if of.Key != "" {
		i, ok := p.Schema.Index(of.Key)
		if !ok {
			return nil, &Error{
				Code: Usage, Op: "load split", Where: of.Experiment, Err: errNoKeyField,
				Hint: "start the instances with the pipeline file that the experiment was started with",
			}
		}
		if s.schema, err = record.NewSchema(p.Schema.Field(i)); err != nil {
			return nil, err
		}
	}
	d, err := s.newDivision() // an error shows here
	s.idle.Put(d)
	return s, err
}

// division divides batches among arms, for one goroutine at a time.
type division struct {
	parts   []part // by arm
	hasher  *assign.Hasher
	decoder codec.Decoder
	batch   *record.Batch // of the key alone; nil: the message's key is
	text    []byte
}

func (s *split) newDivision() (*division, error) {
	d := &division{parts: make([]part, len(s.of.Arms)), hasher: assign.NewHasher(s.of.Salt)}
	if s.schema == nil {
		return d, nil
	}
	var err error
	if d.decoder, err = pipeline.NewDecoder(s.schema, pipeline.Options{MaxBytes: s.maxBytes}); err != nil {
		return nil, err
	}
	d.batch = record.NewBatch(s.schema, nil)
	return d, nil
}

func (s *split) take() *division {
	if d, ok := s.idle.Get().(*division); ok && d != nil {
		return d
	}
	d, err := s.newDivision()
	if err != nil {
		panic("app: " + err.Error()) // one was made before
	}
	return d
}

func (s *split) giveBack(d *division) {
	for i := range d.parts {
		d.parts[i].places, d.parts[i].forced = d.parts[i].places[:0], d.parts[i].forced[:0]
	}
	if d.batch != nil {
		d.batch.Reset()
	}
	s.idle.Put(d)
}

// read reads the keys of records that were appended to the batch of d, where a field is the key.
func (d *division) read() {
	if d.batch != nil {
		d.decoder.Decode(d.batch)
	}
}

// arm returns the arm of a record, which is row i of d.batch where a field is the key, and whether the record has named it. A record
// without a key, or with one that cannot be read, goes by where it stands.
func (s *split) arm(d *division, r *record.Raw, i int) (arm int, forced bool) {
	if s.of.Override != "" {
		for _, h := range r.Headers {
			if h.Key != s.of.Override {
				continue
			}
			if arm := s.of.Arm(string(h.Value)); arm >= 0 {
				return arm, true
			}
		}
	}
	if s.of.By == rollout.ByPartition {
		return s.partitions[r.Partition], false
	}
	key, ok := r.Key, r.Key != nil
	if d.batch != nil {
		key, ok = d.key(i)
	}
	if !ok {
		d.text = append(append(d.text[:0], r.Topic...), '/')
		d.text = append(strconv.AppendInt(d.text, int64(r.Partition), 10), '/')
		d.text = strconv.AppendInt(d.text, r.Offset, 10)
		key = d.text
	}
	return int(s.slots[d.hasher.Slot(key)]), false
}

// key returns the text of row i.
func (d *division) key(i int) ([]byte, bool) {
	if d.batch.Problem(i) != nil {
		return nil, false
	}
	switch d.batch.Schema().Field(0).Type {
	case record.Enum:
		code := d.batch.Codes(0)[i]
		if code == record.MissingCode {
			return nil, false
		}
		d.text = append(d.text[:0], d.batch.Dict(0).Level(code)...)
	default:
		if d.batch.Texts(0).Missing(i) {
			return nil, false
		}
		d.text = append(d.text[:0], d.batch.Texts(0).View(i)...)
	}
	return d.text, true
}

// one returns the arm of a record by itself, and whether the record has named it.
func (s *split) one(r *record.Raw) (arm int, forced bool) {
	d := s.take()
	defer s.giveBack(d)
	if d.batch != nil {
		d.batch.Append(*r)
		d.read()
	}
	return s.arm(d, r, 0)
}

// letter returns the headers of the dead letter of a record, of those that each arm's letters have.
func (s *split) letter(r *record.Raw, letters func(arm int) []record.Header) []record.Header {
	arm, forced := s.one(r)
	hs := letters(arm)
	if forced {
		hs = append(slices.Clip(hs), record.Header{Key: headerForced, Value: []byte("true")})
	}
	return hs
}

// divide divides a batch among the arms of v.
func divide[K, V any](v *serving, b *stream.Batch[K, V, scored]) *division {
	d := v.split.take()
	for i := range d.parts {
		d.parts[i].served, d.parts[i].arm = v.arms[i], &v.arm[i]
	}
	origin := func(i int) record.Raw {
		r, _ := b.Origin(i) // what is in the batch came from a topic
		return r
	}
	if d.batch != nil {
		for i := range b.In {
			d.batch.Append(origin(i))
		}
		d.read()
	}
	for i := range b.In {
		r := origin(i)
		arm, forced := v.split.arm(d, &r, i)
		p := &d.parts[arm]
		p.places, p.forced = append(p.places, i), append(p.forced, forced)
	}
	return d
}

// arm is an arm of an experiment, as an instance serves it.
type arm struct {
	headers []record.Header // that name it
	control *served         // the control, of another arm; nil of the control itself
	idle    chan *scorer    // scorers of the control that ask it what it says, and count nothing
	turn    atomic.Uint64
	counts  *armCounts
}

// headers puts the headers of predictions together.
type headers struct {
	part    *part
	control *scorer
	all     []record.Header
	text    []byte
}

// of returns the headers of record k of a part, which came with its own, and gets added.
func (h *headers) of(k int, own, added []record.Header) []record.Header {
	a := h.part.arm
	if a == nil && len(own) == 0 {
		return added
	}
	at := len(h.all)
	h.all = append(appendOwn(h.all, own), added...)
	if a != nil {
		h.all = append(h.all, a.headers...)
		if c := h.control; c != nil {
			baseline := math.NaN() // so that it can be told from a record of the control
			if c.batch.Problem(k) == nil {
				baseline = c.worker.Prediction(k)
			}
			h.all = append(h.all, record.Header{Key: headerBaseline, Value: h.number(baseline)})
		}
		if h.part.forced[k] {
			h.all = append(h.all, record.Header{Key: headerForced, Value: []byte("true")})
		}
	}
	return h.all[at:len(h.all):len(h.all)]
}

// number returns the shortest text that reads back as x.
func (h *headers) number(x float64) []byte {
	n := len(h.text)
	h.text = strconv.AppendFloat(h.text, x, 'g', -1, 64)
	return h.text[n:len(h.text):len(h.text)]
}

// armCounts counts what an instance has done for an arm. It is safe for concurrent use.
type armCounts struct {
	mu sync.Mutex
	rollout.ArmStatus
}

func (c *armCounts) scored(records, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Records += int64(records)
	c.Refused += int64(refused)
}

// timed takes in how long the arm's model and the control's took for the same records.
func (c *armCounts) timed(own, control time.Duration, records int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Seconds == nil {
		c.Seconds = &experiment.Cross{}
	}
	// They are small and finite, and there is at least one record.
	_ = c.Seconds.Add(own.Seconds(), control.Seconds(), float64(records))
	if own > 0 && control > 0 {
		if c.Ratios == nil {
			c.Ratios = make([]int64, rollout.RatioBuckets)
		}
		c.Ratios[rollout.RatioBucket(own.Seconds()/control.Seconds())]++
	}
}

func (c *armCounts) status() rollout.ArmStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.ArmStatus
	if s.Seconds != nil {
		seconds := *s.Seconds
		s.Seconds = &seconds
	}
	s.Ratios = slices.Clone(s.Ratios)
	return s
}

// shares returns what part of the records each arm gets, in words.
func shares(s *rollout.Split) string {
	var all []string
	for i := range s.Arms {
		a := &s.Arms[i]
		if s.By == rollout.ByPartition {
			all = append(all, fmt.Sprintf("%s %d partitions", a.Name, len(a.Partitions)))
			continue
		}
		n := 0
		for _, r := range a.Slots {
			n += r.To - r.From
		}
		all = append(all, fmt.Sprintf("%s %s %%", a.Name, strconv.FormatFloat(float64(n)*100/assign.Slots, 'f', -1, 64)))
	}
	return strings.Join(all, ", ")
}
