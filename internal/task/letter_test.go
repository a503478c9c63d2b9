package task

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

func headers(r *record.Raw) map[string]string {
	m := map[string]string{}
	for _, h := range r.Headers {
		m[h.Key] = string(h.Value)
	}
	return m
}

func TestLetter(t *testing.T) {
	t.Parallel()
	p := &Program{Name: "app", DeadLetters: "dead", Nodes: []Node{{Name: "counts"}}}
	problem := record.Problem{Stage: record.StageProcess, Class: "late", Field: "f", Reason: "its window is closed"}
	source := &record.Raw{
		Topic: "in", Partition: 2, Offset: 7, Timestamp: 50, Key: []byte("k"), Value: []byte("v"),
		Headers: []record.Header{{Key: "own", Value: []byte("x")}},
	}
	first := p.Letter(source, Drop{Problem: problem})
	want := map[string]string{
		"own": "x", LetterTopic: "in", LetterPartition: "2", LetterOffset: "7", LetterTimestamp: "50", LetterGroup: "app", LetterNode: "counts",
		LetterStage: "process", LetterClass: "late", LetterField: "f", LetterReason: "its window is closed", LetterAttempt: "1", LetterFirstSeen: "50",
		LetterID: headers(&first)[LetterID],
	}
	if diff := cmp.Diff(want, headers(&first)); diff != "" {
		t.Error(diff)
	}
	if len(want[LetterID]) != 32 || string(first.Key) != "k" || string(first.Value) != "v" || first.Topic != "dead" || first.Partition != 2 {
		t.Errorf("%+v", first)
	}
	first.Topic, first.Timestamp = "dead", 60
	second := p.Letter(&first, Drop{Problem: problem})
	if h := headers(&second); h[LetterAttempt] != "2" || h[LetterFirstSeen] != "50" || h[LetterTopic] != "dead" || h["own"] != "x" {
		t.Errorf("a letter of a letter: %v", h)
	}
	problem.Reason = strings.Repeat("é", maxLetterText)
	none := p.Letter(nil, Drop{Problem: problem})
	if h := headers(&none); h[LetterTopic] != "" || h[LetterTimestamp] != "-1" || len(h[LetterReason]) > maxLetterText || !strings.HasPrefix(h[LetterReason], "éé") {
		t.Errorf("a letter without a record: %v", h)
	}
}
