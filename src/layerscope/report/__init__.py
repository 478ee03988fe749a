"""One offline HTML file that says what a run found."""

from layerscope.report.page import MAX_MB as MAX_MB
from layerscope.report.page import write_report as write_report
from layerscope.report.page import write_without_explorer as write_without_explorer
