// Command rawbody is a filter for tests: it makes the octets that X-Body has in
// base64 the body, whatever they are.
package main

import (
	"context"
	"encoding/base64"

	"mtad/sdk"
)

func main() {
	sdk.Serve(sdk.Manifest{
		Name: "rawbody", Version: "0", Stages: []string{"message"}, Writes: []string{"body"},
	}, func(map[string]string) (sdk.Filter, error) { return filter{}, nil })
}

type filter struct{}

func (filter) Filter(_ context.Context, _ string, m *sdk.Message) (*sdk.Verdict, error) {
	v := new(sdk.Verdict)
	text, _ := m.Header("X-Body")
	body, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return v.ReplaceBody(body), nil
}
