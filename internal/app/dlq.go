package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/letter"
	"millrace.dev/record"
)

// DeadLetterOptions say which dead letters of a pipeline are meant.
type DeadLetterOptions struct {
	File                string   // the pipeline file
	Set                 []string // overrides of it
	Stage, Class, Field string   // "" is any
	Since               string   // a duration before now, "24h" or "7d", or a time; "" is all
	Outcomes            bool     // those of the application that joins predictions with labels
}

// letterPlace is where dead letters are.
type letterPlace struct {
	topic, group string
	sources      []string // topics that a record may be replayed to
}

// letterPlaceOf returns where the dead letters of a pipeline are, or those of its outcomes. Of these no prediction is replayed: whoever reads
// predictions would have it twice.
func letterPlaceOf(p *config.Pipeline, outcomes bool) (letterPlace, error) {
	if outcomes {
		if p.Outcomes == nil {
			return letterPlace{}, noOutcomes("dlq", p)
		}
		return letterPlace{topic: p.Outcomes.DeadLetter, group: p.OutcomesGroup(), sources: []string{p.Outcomes.Topic}}, nil
	}
	at := letterPlace{topic: p.DeadLetter.Topic, group: p.Group, sources: []string{p.Source.Topic}}
	for i := range p.Tables {
		if t := p.Tables[i].Topic; t != "" {
			at.sources = append(at.sources, t)
		}
	}
	return at, nil
}

// selection returns the letters that are meant.
func (a *App) selection(o *DeadLetterOptions) (letter.Selection, error) {
	s := letter.Selection{Stage: o.Stage, Class: o.Class, Field: o.Field}
	stages := []string{record.StageDecode, record.StageEnrich, record.StageTable, record.StageCheck, record.StageScore, record.StageProduce}
	if o.Stage != "" && !slices.Contains(stages, o.Stage) {
		return s, &Error{Code: Usage, Op: "dlq", Err: fmt.Errorf("--stage %q: there is no such stage", o.Stage), Hint: "the stages are " + strings.Join(stages, ", ")}
	}
	if o.Since == "" {
		return s, nil
	}
	at, err := a.sinceTime(o.Since)
	if err != nil {
		return s, &Error{Code: Usage, Op: "dlq", Err: err}
	}
	s.Since = max(1, at.UnixMilli())
	return s, nil
}

// sinceTime reads a duration before now, or a time.
func (a *App) sinceTime(text string) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := time.ParseDuration(days + "h"); err == nil && n >= 0 {
			return a.Now().Add(-24 * n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return a.Now().Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since %q: want how long before now, such as 24h or 7d, or a time such as 2014-05-02T10:00:00Z", text)
}

// pipelineClient reads a pipeline file and returns a client of its cluster, which the caller closes.
func (a *App) pipelineClient(file string, set []string) (*config.Pipeline, *kafka.Client, error) {
	p, err := a.Load(file, set)
	if err != nil {
		return nil, nil, err
	}
	c, err := a.cluster(p)
	if err != nil {
		return nil, nil, err
	}
	client, err := kafka.New(c)
	return p, client, err
}

// DeadLetters is what the topic of dead letters holds.
type DeadLetters struct {
	Topic string
	*letter.Survey
}

// DeadLetters counts the dead letters of a pipeline by kind.
func (a *App) DeadLetters(ctx context.Context, o DeadLetterOptions) (*DeadLetters, error) {
	s, err := a.selection(&o)
	if err != nil {
		return nil, err
	}
	p, client, err := a.pipelineClient(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	at, err := letterPlaceOf(p, o.Outcomes)
	if err != nil {
		return nil, err
	}
	v, err := letter.Look(ctx, client, at.topic, at.group, s)
	if err != nil {
		return nil, err
	}
	return &DeadLetters{at.topic, v}, nil
}

// DeadLetterOf says which dead letter to show.
type DeadLetterOf struct {
	File    string   // the pipeline file
	Set     []string // overrides of it
	Which   string   // its id, or PARTITION/OFFSET in the topic of dead letters
	Explain bool     // run its record through the path as it is now
	Model   string   // for that, as in [ExplainOptions]
	// Outcomes is as in [DeadLetterOptions]; there is no Explain then.
	Outcomes bool
}

// DeadLetter is a dead letter with its record.
type DeadLetter struct {
	*letter.Letter

	Record    *record.Raw // as it came; nil where the letter points to it and it is not there any more
	Explained *Explained  // nil where that was not asked for, or there is no record
}

// DeadLetter finds a dead letter.
func (a *App) DeadLetter(ctx context.Context, o DeadLetterOf) (*DeadLetter, error) {
	which, err := letter.ParseWhich(o.Which)
	if err != nil {
		return nil, &Error{Code: Usage, Op: "dlq show", Err: err, Hint: "millrace dlq list gives an example of each kind"}
	}
	p, client, err := a.pipelineClient(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	at, err := letterPlaceOf(p, o.Outcomes)
	if err != nil {
		return nil, err
	}
	l, err := letter.Find(ctx, client, at.topic, which)
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, &Error{
			Code: Usage, Op: "dlq show", Where: at.topic, Err: fmt.Errorf("there is no dead letter %s", which),
			Hint: "it may be deleted: millrace dlq list shows what is there",
		}
	}
	d := &DeadLetter{Letter: l}
	if d.Record, err = l.Record(ctx, client); err != nil && !letter.Gone(err) {
		return nil, err
	}
	if !o.Explain || d.Record == nil {
		return d, nil
	}
	d.Explained, err = a.ExplainRecord(ctx, ExplainOptions{File: o.File, Set: o.Set, Model: o.Model, Raw: d.Record})
	return d, err
}

// ReplayOptions say which dead letters to replay.
type ReplayOptions struct {
	DeadLetterOptions

	Which    string // one letter, as in [DeadLetterOf]; "" is all that are meant
	To       string // the topic; "" is the one that each came from
	Limit    int    // 0 is none
	Attempts int    // letters whose records were tried so often are left
	DryRun   bool
	Progress func(int) // may be nil
}

// Replayed is what a replay has done.
type Replayed struct {
	*letter.Outcome

	Topic  string // of the letters
	To     string // where the records went; "" is to where each came from
	DryRun bool
}

// Replay writes the records of dead letters back to where they came from, each exactly once. The outcome is there, and right
// as far as the replay came, also with an error; it is nil if the replay did not begin. Where nothing was replayed the
// error is of code Nothing.
func (a *App) Replay(ctx context.Context, o ReplayOptions) (*Replayed, error) {
	s, err := a.selection(&o.DeadLetterOptions)
	if err != nil {
		return nil, err
	}
	if o.Which != "" {
		if s.Which, err = letter.ParseWhich(o.Which); err != nil {
			return nil, &Error{Code: Usage, Op: "dlq replay", Err: err, Hint: "millrace dlq list gives an example of each kind"}
		}
	}
	p, client, err := a.pipelineClient(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	at, err := letterPlaceOf(p, o.Outcomes)
	if err != nil {
		return nil, err
	}
	if o.To == at.topic || o.To == p.Sink.Topic {
		return nil, &Error{Code: Usage, Op: "dlq replay", Where: o.To, Err: errors.New("it is a topic that the pipeline writes"), Hint: "replay to the source, or to a topic from where something repairs the records"}
	}
	r := letter.Replay{
		Client: client, Topic: at.topic, Group: at.group, Sources: at.sources, To: o.To,
		Select: s, Limit: o.Limit, Attempts: o.Attempts, DryRun: o.DryRun, Progress: o.Progress, Now: a.Now,
	}
	out, err := r.Run(ctx)
	done := &Replayed{Outcome: out, Topic: at.topic, To: o.To, DryRun: o.DryRun}
	if err == nil && out.Replayed == 0 {
		err = nothingToReplay(at.topic, out)
	}
	return done, err
}

// nothingToReplay says why nothing was replayed.
func nothingToReplay(topic string, o *letter.Outcome) error {
	e := &Error{Code: Nothing, Op: "dlq replay", Where: topic}
	switch {
	case o.Selected == 0:
		e.Err = errors.New("there are no such dead letters")
		e.Hint = "millrace dlq list shows what is there"
	case o.Before == o.Selected:
		e.Err = errors.New("all such dead letters are replayed already")
	default:
		e.Err = errors.New("no such dead letter can be replayed")
	}
	return e
}
