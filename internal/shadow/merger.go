package shadow

// Which of the two has made a prediction.
type Which uint8

// The two.
const (
	Production Which = iota
	Candidate
)

func (w Which) other() Which { return 1 - w }

// Stream names the predictions of one partition of the source that are in one partition of either topic: they come in the order of
// the source.
type Stream struct {
	Source                int32
	Production, Candidate int32 // partitions of the topics of predictions
}

// Prediction is what a topic says of a record.
type Prediction struct {
	Offset    int64 // of the record in its partition of the source
	Value     float64
	Timestamp int64   // of the record, in milliseconds since 1970; -1 is none
	Model     int32   // an index of the caller's
	At        int64   // the offset of the prediction in its topic
	Latency   float64 // in milliseconds from the record's time to when the topic got the prediction; NaN where that is not known
}

// Absence is why a prediction has no partner.
type Absence uint8

// The absences.
const (
	Lacking  Absence = iota // the other one has predicted records before and behind it, and not this one
	Before                  // it is before the first one that the other one has predicted
	Behind                  // it is behind the last one that the other one has predicted
	GivenUp                 // it was given up, with what was held for the other one being too much
	absences = iota
)

// Merger pairs predictions. Those of one side of a [Stream] are added in the order of the source; what comes again, as it can at
// least once, is counted and left out.
type Merger struct {
	// Limit bounds the predictions that wait for their partners. Default: [DefaultLimit]
	Limit int
	// Pair is called with each pair.
	Pair func(s Stream, production, candidate *Prediction)
	// Single is called with each prediction that has no partner. Default: they are only counted
	Single func(s Stream, w Which, p *Prediction, why Absence)

	streams map[Stream]*stream
	waiting int
	alone   [2][absences]int64
	again   [2]int64
}

// DefaultLimit is how many predictions wait at most, of 48 bytes each.
const DefaultLimit = 1 << 20

// stream is how far a stream is. What waits is of one side: the one that is ahead.
type stream struct {
	seen  [2]bool
	first [2]int64
	last  [2]int64
	ahead Which
	queue []Prediction // ascending by offset
	head  int
}

func (s *stream) len() int { return len(s.queue) - s.head }

func (s *stream) pop() *Prediction {
	p := &s.queue[s.head]
	if s.head++; s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	return p
}

func (s *stream) push(p Prediction) {
	if s.head > 64 && s.head > len(s.queue)/2 { // else the front would never be used again
		s.queue, s.head = append(s.queue[:0], s.queue[s.head:]...), 0
	}
	s.queue = append(s.queue, p)
}

// Add takes a prediction in.
func (m *Merger) Add(of Stream, w Which, p Prediction) {
	s := m.streams[of]
	if s == nil {
		if m.streams == nil {
			m.streams = map[Stream]*stream{}
		}
		s = &stream{}
		m.streams[of] = s
	}
	if s.seen[w] && p.Offset <= s.last[w] {
		m.again[w]++
		return
	}
	if !s.seen[w] {
		s.seen[w], s.first[w] = true, p.Offset
	}
	s.last[w] = p.Offset
	if s.len() > 0 && s.ahead != w {
		for s.len() > 0 && s.queue[s.head].Offset < p.Offset {
			m.waiting--
			waited := s.pop()
			m.single(of, w.other(), waited, s.absence(w, waited.Offset))
		}
		if s.len() > 0 && s.queue[s.head].Offset == p.Offset {
			m.waiting--
			m.pair(of, w, &p, s.pop())
			return
		}
	}
	if o := w.other(); s.seen[o] && s.last[o] >= p.Offset { // it has gone past
		m.single(of, w, &p, s.absence(o, p.Offset))
		return
	}
	s.ahead = w
	s.push(p)
	m.waiting++
	m.shrink(of, s)
}

// absence is why a side that has gone past an offset does not have it.
func (s *stream) absence(w Which, offset int64) Absence {
	if offset < s.first[w] {
		return Before
	}
	return Lacking
}

func (m *Merger) pair(of Stream, w Which, p, waited *Prediction) {
	if m.Pair == nil {
		return
	}
	if w == Production {
		m.Pair(of, p, waited)
	} else {
		m.Pair(of, waited, p)
	}
}

func (m *Merger) single(of Stream, w Which, p *Prediction, why Absence) {
	m.alone[w][why]++
	if m.Single != nil {
		m.Single(of, w, p, why)
	}
}

// shrink gives up the oldest of a stream where too many wait.
func (m *Merger) shrink(of Stream, s *stream) {
	limit := m.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	if m.waiting > limit {
		m.waiting--
		m.single(of, s.ahead, s.pop(), GivenUp)
	}
}

// Ahead returns the stream of which the most predictions wait, whose they are, and how many; false where none wait.
func (m *Merger) Ahead() (of Stream, w Which, n int, ok bool) {
	for k, s := range m.streams {
		if l := s.len(); l > n || l == n && l > 0 && before(k, of) {
			of, w, n, ok = k, s.ahead, l, true
		}
	}
	return of, w, n, ok
}

func before(a, b Stream) bool {
	if a.Source != b.Source {
		return a.Source < b.Source
	}
	if a.Production != b.Production {
		return a.Production < b.Production
	}
	return a.Candidate < b.Candidate
}

// End gives up what waits in a stream: the other side has no more. Where it has predicted nothing of the stream, or nothing so far
// behind, what waits is behind it.
func (m *Merger) End(of Stream) {
	s := m.streams[of]
	for s != nil && s.len() > 0 {
		m.waiting--
		m.single(of, s.ahead, s.pop(), Behind)
	}
}

// Finish ends all streams.
func (m *Merger) Finish() {
	for of := range m.streams {
		m.End(of)
	}
}

// Waiting returns how many predictions wait for their partners.
func (m *Merger) Waiting() int { return m.waiting }

// Alone returns how many predictions of a side have no partner, by why.
func (m *Merger) Alone(w Which, why Absence) int64 { return m.alone[w][why] }

// Again returns how many predictions of a side came again, and were left out.
func (m *Merger) Again(w Which) int64 { return m.again[w] }
