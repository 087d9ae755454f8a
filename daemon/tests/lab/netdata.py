# Runs netdata's collector for fail2ban once, as its python.d.plugin does, and prints what it counts.
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location

home, log, settings = sys.argv[1:]
sys.path[:0] = [home + "/python_modules", home]
spec = spec_from_file_location("fail2ban", home + "/fail2ban.chart.py")
chart = module_from_spec(spec)
spec.loader.exec_module(chart)
configuration = dict.fromkeys(["job_name", "override_name"])
configuration.update(dict.fromkeys(["update_every", "priority", "penalty", "chart_cleanup"], 1))
configuration.update(log_path=log, conf_path=settings + "/jail.local", conf_dir=settings + "/jail.d/")
service = chart.Service(configuration=configuration)
assert service.check()
print(json.dumps(service.get_data()))
