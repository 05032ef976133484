package eval

import (
	"bytes"
	"encoding/binary"
	"strings"

	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/scan"
)

// imageEval are the functions of ImageInfo: sizes and names of pictures in base64.
var imageEval = map[string]Func{
	"image_named": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(imagesOf(s).names[arg(a, 0)])
	},
	"image_name_regex": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		re, err := compiled(s, arg(a, 0))
		if err != nil {
			return 0, err
		}
		for name := range imagesOf(s).names {
			if ok, err := re.Match([]byte(name), s.Budget); ok || err != nil {
				v, _ := hit(ok)
				return v, err
			}
		}
		return 0, nil
	},
	"image_count": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(between(float64(imagesOf(s).of(arg(a, 0)).count), a[1:]))
	},
	"pixel_coverage": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(between(imagesOf(s).of(arg(a, 0)).area, a[1:]))
	},
	"image_to_text_ratio": imageToText,
	"image_size_exact": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(imagesOf(s).of(arg(a, 0)).sizes[[2]int{atoi(arg(a, 1)), atoi(arg(a, 2))}])
	},
	"image_size_range": imageSize,
}

// pictures are those of one kind.
type pictures struct {
	count int
	area  float64         // what files claim may be more than an int has room for
	sizes map[[2]int]bool // height and width
}

type images struct {
	kinds map[string]*pictures
	names map[string]bool
}

func (i *images) of(kind string) *pictures {
	if p := i.kinds[kind]; p != nil {
		return p
	}
	return &pictures{}
}

// between compares with a least and perhaps a most.
func between(v float64, a []string) bool {
	return v >= number(a, 0) && (arg(a, 1) == "" || v <= number(a, 1))
}

func imagesOf(s *scan.Scan) *images {
	if i, ok := s.Keep["images"].(*images); ok {
		return i
	}
	i := &images{kinds: map[string]*pictures{}, names: map[string]bool{}}
	for _, kind := range []string{"gif", "png", "jpeg", "all"} {
		i.kinds[kind] = &pictures{sizes: map[[2]int]bool{}}
	}
	for _, p := range s.Mail.Leaves() {
		kind, ok := strings.CutPrefix(p.Type, "image/")
		if kind == "jpg" {
			kind = "jpeg"
		}
		if ok && kind != "all" && i.kinds[kind] != nil && strings.EqualFold(p.Header("content-transfer-encoding"), "base64") {
			i.add(kind, p)
		}
	}
	s.Keep["images"] = i
	return i
}

func (i *images) add(kind string, p *mail.Part) {
	h, w := sizeOf(kind, p.Decoded())
	for _, k := range []*pictures{i.kinds[kind], i.kinds["all"]} {
		k.count++
		if h > 0 && w > 0 {
			k.area += float64(h) * float64(w)
			k.sizes[[2]int{h, w}] = true
		}
	}
	if h > 0 && w > 0 && p.Name != "" {
		i.names[p.Name] = true
	}
}

// sizeOf reads the height and width of a picture, 0 if it has none.
func sizeOf(kind string, b []byte) (h, w int) {
	switch {
	case kind == "gif" && len(b) >= 13 && (bytes.HasPrefix(b, []byte("GIF87a")) || bytes.HasPrefix(b, []byte("GIF89a"))):
		return int(binary.LittleEndian.Uint16(b[8:])), int(binary.LittleEndian.Uint16(b[6:]))
	case kind == "png" && bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		for at := 8; at+8 <= len(b); at += 8 {
			if string(b[at+4:at+8]) == "IHDR" && binary.BigEndian.Uint32(b[at:]) == 13 && at+20 <= len(b) { // the last four are its sum
				return int(binary.BigEndian.Uint32(b[at+12:])), int(binary.BigEndian.Uint32(b[at+8:]))
			}
		}
	case kind == "jpeg" && bytes.HasPrefix(b, []byte("\xff\xd8")):
		return jpegSize(b)
	}
	return 0, 0
}

// jpegSize reads blocks up to the one that begins a frame (ITU T.81, B.2.2).
func jpegSize(b []byte) (h, w int) {
	for at := 2; at+4 <= len(b) && b[at] == 0xff && b[at+1] != 0xda && b[at+1] != 0xd9; {
		mark, size := b[at+1], int(binary.BigEndian.Uint16(b[at+2:]))
		if size < 2 {
			break
		}
		at += 4
		if mark >= 0xc0 && mark <= 0xcf && mark != 0xc4 && mark != 0xc8 && mark != 0xcc && at+5 <= len(b) {
			return int(binary.BigEndian.Uint16(b[at+1:])), int(binary.BigEndian.Uint16(b[at+3:]))
		}
		at += size - 2
	}
	return 0, 0
}

func imageToText(s *scan.Scan, r *conf.Rule, a []string) (float64, error) {
	size := 0
	text := s.Body()
	if r.Type == conf.RawBodyEval {
		text = s.Mail.RawText()
	}
	for _, line := range text {
		size += len(line)
	}
	area := imagesOf(s).of(arg(a, 0)).area
	if size == 0 || area == 0 {
		return 0, nil
	}
	ratio := float64(size) / area
	return hit(ratio >= number(a, 1) && ratio < number(a, 2))
}

func imageSize(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
	for size := range imagesOf(s).of(arg(a, 0)).sizes {
		if size[0] >= atoi(arg(a, 1)) && size[1] >= atoi(arg(a, 2)) && (arg(a, 3) == "" || size[0] <= atoi(arg(a, 3))) && (arg(a, 4) == "" || size[1] <= atoi(arg(a, 4))) {
			return 1, nil
		}
	}
	return 0, nil
}
