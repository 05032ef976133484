require ["mime"];
if header :anychild "a" "b" {}
if header :mime :type :subtype "a" "b" {}
if header :param "x" "a" "b" {}
