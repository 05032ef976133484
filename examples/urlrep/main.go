// Command urlrep is an example of a filter outside mtad's tree: it scores
// messages by the hosts of the links in them, looked up in a JSON map that the
// configuration names.
//
//	filter "external" "urlrep" {
//	  path   = "plugins/urlrep"
//	  config = { map = "/etc/mtad/urlrep.json" }
//	}
//
// The map has hosts and points: {"bad.example": 5}. A host counts for its
// subdomains too, and once a message.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"mtad/sdk"
)

func main() {
	sdk.Serve(sdk.Manifest{
		Name: "urlrep", Version: "1.0",
		Stages: []string{"message"},
		Reads:  []string{"header", "body"},
		Writes: []string{"score", "tags"},
		Options: []sdk.Option{
			{Name: "map", Doc: "The file of hosts and points.", Required: true},
		},
		Pure: true,
	}, newFilter)
}

type filter struct{ points map[string]float64 }

func newFilter(config map[string]string) (sdk.Filter, error) {
	path := config["map"]
	if path == "" {
		return nil, errors.New(`config needs map, the file of hosts and points`)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &filter{}
	if err := json.Unmarshal(b, &f.points); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Filter reads the message line by line and looks its hosts up.
func (f *filter) Filter(_ context.Context, _ string, m *sdk.Message) (*sdk.Verdict, error) {
	v := new(sdk.Verdict)
	seen := map[string]bool{}
	r := bufio.NewReaderSize(m.Body(), 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		for _, host := range hosts(line) {
			if name, points, ok := f.lookup(host); ok && !seen[name] {
				seen[name] = true
				v.AddScore("urlrep", points, name)
				v.Tag("urlrep", name)
			}
		}
		if errors.Is(err, io.EOF) {
			return v, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

var link = regexp.MustCompile(`(?i)\bhttps?://([a-z0-9.-]{1,253})`)

func hosts(line []byte) []string {
	var out []string
	for _, m := range link.FindAllSubmatch(line, -1) {
		out = append(out, strings.ToLower(strings.Trim(string(m[1]), ".")))
	}
	return out
}

// lookup finds the host, or the nearest domain above it, in the map.
func (f *filter) lookup(host string) (name string, points float64, ok bool) {
	for name = host; ; {
		if points, ok = f.points[name]; ok {
			return name, points, true
		}
		if _, name, ok = strings.Cut(name, "."); !ok {
			return "", 0, false
		}
	}
}
