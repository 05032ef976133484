require ["relational"];
if header :value "xx" "a" "b" {}
if header :value "gt" :is "a" "b" {}
if header :count 5 "a" "b" {}
