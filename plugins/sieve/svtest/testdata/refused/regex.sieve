require ["regex", "comparator-i;ascii-numeric"];
if header :regex "subject" "(" {}
if header :regex "subject" "[" {}
if header :regex :comparator "i;ascii-numeric" "subject" "x" {}
