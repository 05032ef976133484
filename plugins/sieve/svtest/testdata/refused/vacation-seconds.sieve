require ["vacation-seconds", "vacation"];
vacation :seconds 5 :days 1 "x";
vacation :seconds "5" "x";
